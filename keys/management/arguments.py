"""What commands that make keys and teams share: limits as arguments, errors as sentences."""

import datetime as dt
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

from keys.changes import sentence as sentence
from keys.core.budget import BadBudget, BudgetSpec, parse_tokens, parse_usd, parse_window
from keys.core.terms import INHERIT

NONE = "none"


def add_limits(
    parser: ArgumentParser, *, rpm: int | None, concurrency: int | None, plan: bool = False
) -> None:
    """Add --rpm, --concurrency, --tokens, --usd, --strict and --anchored, with these defaults.

    With `plan` what is not given is `INHERIT`: that of a plan, the default only without one.
    """
    parser.add_argument(
        "--rpm",
        type=rate,
        default=INHERIT if plan else rpm,
        metavar="N",
        help=_rate_help("requests a minute", rpm),
    )
    parser.add_argument(
        "--concurrency",
        type=rate,
        default=INHERIT if plan else concurrency,
        metavar="N",
        help=_rate_help("exchanges in flight at once", concurrency),
    )
    parser.add_argument(
        "--tokens",
        action="append",
        type=_budget(parse_tokens),
        metavar="N/WINDOW",
        help="token budget such as 5000000/5h (window in s, m, h, d or w), or none; repeatable",
    )
    parser.add_argument(
        "--usd",
        action="append",
        type=_budget(parse_usd),
        metavar="N/WINDOW",
        help="budget in US dollars such as 20/30d, or none; repeatable",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="hold the worst case beforehand, so that the budgets are never exceeded",
    )
    parser.add_argument(
        "--anchored",
        action="store_true",
        help="start a budget's window at its first use and empty it all at once",
    )


def add_amount(parser: ArgumentParser) -> None:
    """Add --tokens and --usd, of which one budget must be given."""
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument(
        "--tokens", type=_budget(parse_tokens), metavar="N/WINDOW", help="such as 5000000/5h"
    )
    amount.add_argument("--usd", type=_budget(parse_usd), metavar="N/WINDOW", help="such as 20/30d")


def window(text: str) -> int:
    """Read a window such as 15m, 5h or 30d."""
    try:
        return parse_window(text)
    except BadBudget as error:
        raise ArgumentTypeError(str(error)) from error


def span(text: str) -> dt.timedelta:
    """Read a stretch of time such as 90s, 15m, 5h, 30d or 2w, or 0 for none."""
    if text == "0":
        return dt.timedelta(0)
    try:
        return dt.timedelta(seconds=parse_window(text))
    except BadBudget as error:
        raise ArgumentTypeError(str(error).replace("window", "stretch of time")) from error


def budgets(options: dict[str, Any], default: tuple[BudgetSpec, ...]) -> list[BudgetSpec]:
    """Return the budgets the arguments name, `default` when they name none."""
    named = [*(options["tokens"] or ()), *(options["usd"] or ())]
    if not named:
        named = list(default)
    return [
        BudgetSpec(
            unit=spec.unit,
            window_s=spec.window_s,
            limit=spec.limit,
            strict=options["strict"],
            anchored=options["anchored"],
        )
        for spec in named
        if spec is not None
    ]


def rate(text: str) -> int | None:
    """Read a whole number that is not negative, or `none` for unlimited."""
    if text == NONE:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"'{text}' is neither a whole number nor none")
    return int(text)


def moment(text: str) -> dt.datetime:
    """Read a date or a time in ISO form; UTC if it does not say."""
    try:
        read = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"'{text}' is not a date or time, as in 2027-01-31") from error
    return read if read.tzinfo else read.replace(tzinfo=dt.UTC)


def comma_list(text: str) -> list[str]:
    """Read values with commas between them."""
    return [value.strip() for value in text.split(",") if value.strip()]


def _budget(parse: Callable[[str], BudgetSpec]) -> Callable[[str], BudgetSpec | None]:
    def read(text: str) -> BudgetSpec | None:
        if text == NONE:
            return None
        try:
            return parse(text)
        except BadBudget as error:
            raise ArgumentTypeError(str(error)) from error

    return read


def _rate_help(what: str, default: int | None) -> str:
    return f"{what}, or none for unlimited (default: {NONE if default is None else default})"
