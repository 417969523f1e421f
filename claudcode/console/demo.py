"""Data to try the console with: teams, keys and a month of exchanges, plainly marked as demo.

Demo keys can never be used: where a key has the digest of its secret, they have words that no
digest is. By those they are known again when they are removed. Owners cannot sign in.
"""

import datetime as dt
import random
from collections.abc import Iterator

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from claudcode.console.demo_exchanges import Who, exchanges
from keys import audit
from keys.core.limits import Unit
from keys.core.secret import ALPHABET, MARK
from keys.models import ApiKey, Budget, ClaudeModel, Team
from usage import reports, seed
from usage.prices import load_price_book

MARKER = "demo:"
PREFIX = "Demo "
_TEAMS = ("platform", "research", "support", "mobile", "data")
_PEOPLE = ("ada", "grace", "edsger", "barbara", "donald", "frances", "ken", "margaret")
_USES = ("laptop", "CI", "code review", "chat", "batch", "notebook", "agent", "evaluation")
BATCH = 5_000
BUDGET = (Unit.TOKENS.value, 18_000)
# How much of their budget the busiest keys have used, so that there is something to attend to.
_SHARES = (1.04, 0.93, 0.81, 0.62, 0.4)


def apikeys() -> Iterator[int]:
    """Yield the ids of the demo keys there are."""
    demo = ApiKey.objects.filter(digest__startswith=MARKER).order_by()
    yield from demo.values_list("pk", flat=True).iterator()


def real_keys_exist() -> bool:
    """Return whether the database has a key that somebody may use."""
    return ApiKey.objects.exclude(digest__startswith=MARKER).exists()


@transaction.atomic
def create(*, keys: int, rows: int, days: int, dice_seed: int = 1) -> int:
    """Make `keys` demo keys and `rows` exchanges of the last `days` days; return how many rows."""
    now = timezone.now()
    dice = random.Random(dice_seed)
    made = _keys(keys, now, days, dice)
    known = list(ClaudeModel.objects.filter(enabled=True).values_list("model_id", flat=True)[:6])
    whos = [Who(key.pk, key.team_id, dice.choice(known)) for key in made]
    found = exchanges(whos, rows, now, days, load_price_book(), dice_seed)
    seed.write([key.pk for key in made], found)
    _budgets(made, now)
    audit.record("demo.create", None, None, None, {"keys": keys, "exchanges": rows})
    return rows


@transaction.atomic
def remove() -> tuple[int, int]:
    """Delete all that `create` made but the audit trail; return how many keys and exchanges."""
    pks = list(apikeys())
    if not pks:
        return 0, 0
    rows = seed.remove(pks)
    for start in range(0, len(pks), BATCH):
        ApiKey.objects.filter(pk__in=pks[start : start + BATCH]).delete()
    Team.objects.filter(name__startswith=PREFIX, apikeys=None).delete()
    User.objects.filter(username__startswith="demo-", is_active=False).delete()
    audit.record("demo.remove", None, None, None, {"keys": len(pks), "exchanges": rows})
    return len(pks), rows


def _keys(count: int, now: dt.datetime, days: int, dice: random.Random) -> list[ApiKey]:
    teams = [Team(name=f"{PREFIX}{name}", rpm=600) for name in _TEAMS]
    Team.objects.bulk_create(teams)
    people = [User(username=f"demo-{name}", is_active=False, password="!") for name in _PEOPLE]
    User.objects.bulk_create(people)
    made = [_key(number, now, days, teams, people, dice) for number in range(count)]
    return ApiKey.objects.bulk_create(made, batch_size=BATCH)


def _key(
    number: int,
    now: dt.datetime,
    days: int,
    teams: list[Team],
    people: list[User],
    dice: random.Random,
) -> ApiKey:
    person = people[number % len(people)]
    use = _USES[(number // len(people)) % len(_USES)]
    digits = "".join(dice.choice(ALPHABET) for _ in range(4))
    key = ApiKey(
        name=f"{PREFIX}{person.username.removeprefix('demo-')}'s {use} {number + 1}",
        team=teams[number % len(teams)],
        owner=person,
        prefix=MARK + "".join(dice.choice(ALPHABET) for _ in range(6)),
        last_four=digits,
        digest=f"{MARKER}{number}",
        created_at=now - dt.timedelta(days=days),
    )
    if number % 13 == 5:
        key.expires_at = now + dt.timedelta(days=1 + number % 6, hours=5)
    if number % 20 == 17:
        key.disabled_at = now - dt.timedelta(days=2)
    if number % 20 == 19:
        key.revoked_at = now - dt.timedelta(days=4)
    return key


def _budgets(made: list[ApiKey], now: dt.datetime) -> None:
    """Give each key a budget of tokens; the busiest ones such that they are near its end."""
    window = dt.timedelta(seconds=BUDGET[1])
    alive = {key.pk for key in made if key.disabled_at is None and key.revoked_at is None}
    ranked = reports.most_charged(reports.hour_of(now - window), now, len(made))
    busiest = [(pk, tokens) for pk, tokens in ranked if pk in alive]
    limits = {
        pk: max(1, round(tokens / share))
        for (pk, tokens), share in zip(busiest, _SHARES, strict=False)
    }
    Budget.objects.bulk_create(
        (
            Budget(
                apikey=key,
                unit=BUDGET[0],
                window_s=BUDGET[1],
                limit_amount=limits.get(key.pk, 5_000_000),
                created_at=now,
            )
            for key in made
        ),
        batch_size=BATCH,
    )
