"""Budgets as people write them: `5000000/5h` is tokens a window, `20/30d` is dollars a window.

Text in, whole numbers out, and back again. Knows no store.
"""

import re
from dataclasses import dataclass, replace
from decimal import Decimal

from keys.core.limits import AMOUNT_MAX, Unit

NANOUSD_PER_USD = 1_000_000_000
# A leap year. The ledger must hold a whole window for a cold start, so windows have an end.
WINDOW_S_MAX = 366 * 86_400

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WINDOW = re.compile(r"(?P<count>[1-9][0-9]{0,8})(?P<suffix>[smhdw])", re.ASCII)
_TOKENS = re.compile(r"[0-9][0-9_]{0,30}", re.ASCII)
# 28 digits are what Decimal multiplies exactly, and nine decimals reach down to one nano-dollar.
_USD = re.compile(r"[0-9]{1,19}(\.[0-9]{1,9})?", re.ASCII)


class BadBudget(ValueError):
    """The text is not a budget; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class BudgetSpec:
    """A budget that a key or a team is to have: `limit` tokens or nano-dollars, `None` for all."""

    unit: Unit
    window_s: int
    limit: int | None
    strict: bool = False
    anchored: bool = False

    def unlimited(self) -> "BudgetSpec":
        """Return the same budget without an end, which binds nobody."""
        return replace(self, limit=None)


def parse_tokens(text: str, *, strict: bool = False, anchored: bool = False) -> BudgetSpec:
    """Read `5000000/5h`; underscores may group digits. Raises `BadBudget`."""
    amount, window_s = _split(text, "5000000/5h")
    if not _TOKENS.fullmatch(amount):
        raise BadBudget(f"'{amount}' is not a whole number of tokens, as in 5000000/5h")
    limit = _bounded(int(amount), text)
    return BudgetSpec(Unit.TOKENS, window_s, limit, strict, anchored)


def parse_usd(text: str, *, strict: bool = False, anchored: bool = False) -> BudgetSpec:
    """Read `20/30d` or `0.50/1h`, exact to the nano-dollar. Raises `BadBudget`."""
    amount, window_s = _split(text, "20/30d")
    limit = _bounded(nanousd(amount), text)
    return BudgetSpec(Unit.NANOUSD, window_s, limit, strict, anchored)


def nanousd(text: str) -> int:
    """Return the nano-dollars in a plain decimal number of dollars. Raises `BadBudget`."""
    if not _USD.fullmatch(text):
        raise BadBudget(f"'{text}' is not an amount of US dollars, such as 20 or 0.50")
    return int(Decimal(text) * NANOUSD_PER_USD)


def parse_window(text: str) -> int:
    """Return the seconds in `5h`, `30d`, `90s`, `15m` or `2w`. Raises `BadBudget`."""
    found = _WINDOW.fullmatch(text)
    if not found:
        raise BadBudget(f"'{text}' is not a window, as in 90s, 15m, 5h, 30d or 2w")
    window_s = int(found["count"]) * _SECONDS[found["suffix"]]
    if window_s > WINDOW_S_MAX:
        raise BadBudget(f"a window of {text} is longer than {format_window(WINDOW_S_MAX)}")
    return window_s


def format_window(window_s: int) -> str:
    """Return the shortest exact text of a window: 18000 is `5h`, 604800 is `7d`."""
    for suffix in ("d", "h", "m"):
        if window_s % _SECONDS[suffix] == 0:
            return f"{window_s // _SECONDS[suffix]}{suffix}"
    return f"{window_s}s"


def format_amount(unit: Unit, amount: int | None) -> str:
    """Return what people read: `5,000,000 tokens`, `20.00 USD`, `unlimited`."""
    if amount is None:
        return "unlimited"
    if unit is Unit.NANOUSD:
        return f"{format_usd(amount)} USD"
    return f"{amount:,} tokens"


def format_usd(amount_nanousd: int) -> str:
    """Return dollars with at least two decimals and no rounding: 500000000 is `0.50`."""
    whole, rest = divmod(amount_nanousd, NANOUSD_PER_USD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{decimals}"


def _split(text: str, example: str) -> tuple[str, int]:
    amount, slash, window = text.strip().partition("/")
    if not slash:
        raise BadBudget(f"'{text}' is not a budget, as in {example}")
    return amount, parse_window(window)


def _bounded(amount: int, text: str) -> int:
    if amount > AMOUNT_MAX:
        raise BadBudget(f"'{text}' is more than can be counted exactly")
    return amount
