"""Many API keys at once, by COPY: a benchmark cannot wait for a million services to be called.

Secrets follow from their number, so that nothing need be kept to use them.
"""

from collections.abc import Iterator

from django.db import connection

from keys.core.limits import AMOUNT_MAX, Unit
from keys.core.secret import ALPHABET, RANDOM_LENGTH, Secret, compose
from keys.models import RATE_MAX

# Huge, so that nothing is refused; set, so that everything is counted.
RPM = CONCURRENCY = RATE_MAX
TOKENS = AMOUNT_MAX
WINDOWS_S = (18_000, 604_800)
BULK_KEYS = 50_000

_COPY_KEYS = """
COPY keys_apikey (id, name, prefix, last_four, digest, rpm, concurrency, models, cidrs, hangup,
    scope_generation, created_at) FROM STDIN
"""
_ADD_BUDGETS = """
INSERT INTO keys_budget (apikey_id, unit, window_s, limit_amount, strict, anchored, created_at)
SELECT id, %s, window_s, %s, false, false, now()
FROM keys_apikey CROSS JOIN unnest(%s::integer[]) AS window_s
WHERE id >= %s AND id < %s
ORDER BY id, window_s
"""


def secret(number: int) -> Secret:
    """Return the secret of key `number`."""
    digits = []
    while number:
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return compose("".join(reversed(digits)).rjust(RANDOM_LENGTH, "0"))


def add_keys(first: int, after: int) -> None:
    """Add the keys `first` … `after - 1`, each with an RPM, a concurrency and two budgets."""
    with connection.cursor() as cursor:
        for start in range(first, after, BULK_KEYS):
            end = min(after, start + BULK_KEYS)
            with cursor.copy(_COPY_KEYS) as copy:
                for row in _rows(start, end):
                    copy.write_row(row)
            cursor.execute(_ADD_BUDGETS, [Unit.TOKENS, TOKENS, list(WINDOWS_S), start, end])
        cursor.execute("ANALYZE keys_apikey, keys_budget")


def _rows(start: int, end: int) -> Iterator[tuple[object, ...]]:
    for number in range(start, end):
        made = secret(number)
        yield (
            *(number, f"bench {number}", made.prefix, made.last_four, made.digest),
            *(RPM, CONCURRENCY, "{}", "{}", "abort", 0, "2026-01-01T00:00:00Z"),
        )
