"""Arguments of the commands that change a row: what is not given stays as it is."""

from argparse import BooleanOptionalAction
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from keys.core.access import Hangup
from keys.management.arguments import NONE, comma_list, rate

# What an option holds that was not given: `None` is unlimited, or nobody.
KEPT = object()


def add_rates(parser: CommandParser) -> None:
    """Add --rename, --rpm, --concurrency and --cache."""
    parser.add_argument("--rename", metavar="NAME", default=KEPT, help="the new name")
    parser.add_argument(
        "--rpm", type=rate, metavar="N", default=KEPT, help="requests a minute, or none"
    )
    parser.add_argument(
        "--concurrency", type=rate, metavar="N", default=KEPT, help="exchanges in flight, or none"
    )
    parser.add_argument(
        "--cache",
        action=BooleanOptionalAction,
        default=KEPT,
        help="whether the response cache may answer",
    )


def add_terms(parser: CommandParser) -> None:
    """Add what keys and plans have beside that: --models, --wait and --hangup."""
    parser.add_argument(
        "--models",
        type=comma_list,
        metavar="ID,ID",
        default=KEPT,
        help="allowed model ids or patterns such as claude-haiku-*, or nothing ('') for all",
    )
    parser.add_argument(
        "--wait",
        type=int,
        metavar="SECONDS",
        default=KEPT,
        help="how long an exchange may wait for a free slot, at most 60",
    )
    parser.add_argument(
        "--hangup",
        choices=[hangup.value for hangup in Hangup],
        default=KEPT,
        help="what becomes of upstream's answer when the client has left",
    )


def given(options: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    """Return the changes that were asked for; `fields` are options and the fields they become.

    Raises `CommandError` when there is none.
    """
    changes = {
        field: options[option] for option, field in fields.items() if options[option] is not KEPT
    }
    if not changes:
        raise CommandError(f"Say what to change: {_options(fields)}.")
    return changes


def find_user(name: str) -> User:
    """Return the account of this user name."""
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(
            f"There is no account '{name}'. Make it first: manage.py operator_add {name}"
        )
    return user


def or_none(text: str) -> str | None:
    """Read a name, or `none` for nothing."""
    return None if text == NONE else text


def _options(names: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
