"""`manage.py tavily_set`: the account at Tavily, what a credit costs, who may use web tools."""

import sys
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys.management.arguments import moment, sentence
from webtools.models import CreditPrice
from webtools.services import (
    CreditPriceFields,
    TavilyAccountChanges,
    credit_price_set,
    tavily_set,
)

NANOUSD_PER_USD = 1_000_000_000


class Command(BaseCommand):
    """Changes what is named, and leaves the rest."""

    help = "Set up web tools. The credential is read from standard input, never an argument."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--credential-stdin", action="store_true", help="read it from there")
        parser.add_argument("--remove-credential", action="store_true")
        tools = parser.add_mutually_exclusive_group()
        tools.add_argument("--enable", action="store_true", help="web tools for all")
        tools.add_argument("--disable", action="store_true", help="no web tools for anybody")
        keys = parser.add_mutually_exclusive_group()
        keys.add_argument("--all-keys", action="store_true", help="keys without a rule too")
        keys.add_argument("--ruled-keys", action="store_true", help="those that a rule lets")
        messages = parser.add_mutually_exclusive_group()
        messages.add_argument("--always", action="store_true", help="in every message, unasked")
        messages.add_argument("--when-asked", action="store_true", help="in those that ask")
        parser.add_argument("--calls-per-day", metavar="N", help="of each key; 'unlimited'")
        parser.add_argument("--credit-usd", type=Decimal, help="price of a credit")
        parser.add_argument(
            "--from",
            dest="starts_at",
            type=moment,
            metavar="ISO",
            help="the price is in force from then on (default: now); one of the same instant is"
            " corrected",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        changes = TavilyAccountChanges()
        if options["enable"] or options["disable"]:
            changes["enabled"] = options["enable"]
        if options["all_keys"] or options["ruled_keys"]:
            changes["keys_enabled"] = options["all_keys"]
        if options["always"] or options["when_asked"]:
            changes["always"] = options["always"]
        if calls := options["calls_per_day"]:
            changes["calls_per_day"] = None if calls == "unlimited" else _number(calls)
        credential = "" if options["remove_credential"] else None
        if options["credential_stdin"]:
            credential = sys.stdin.readline().strip()
            if not credential:
                raise CommandError("Standard input has no credential.")
        try:
            account = tavily_set(changes=changes, credential=credential, acting_user=None)
            if options["credit_usd"] is not None:
                _set_price(options)
        except ValidationError as error:
            raise CommandError(sentence(error)) from error
        shown = account.credential_hint or "none"
        self.stdout.write(
            f"Web tools {'on' if account.enabled else 'off'}, credential {shown}. Try it:"
            " manage.py tavily_test"
        )


def _set_price(options: dict[str, Any]) -> None:
    starts_at = options["starts_at"] or timezone.now()
    fields: CreditPriceFields = {"credit_nanousd": int(options["credit_usd"] * NANOUSD_PER_USD)}
    stored = CreditPrice.objects.filter(starts_at=starts_at).first()
    fields["starts_at"] = starts_at
    credit_price_set(price=stored, fields=fields, acting_user=None)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise CommandError("--calls-per-day is a whole number, or 'unlimited'.") from None
