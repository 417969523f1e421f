"""`manage.py price_set MODEL`: say what a model costs from an instant on."""

from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys.management import arguments, fields
from keys.models import ClaudeModel
from usage.core.price import nanousd_per_token
from usage.models import Price
from usage.services import price_set

# In USD per million tokens, and the column each becomes.
_RATES = {
    "input": ("input_nanousd", "input"),
    "output": ("output_nanousd", "output"),
    "cache_write": ("cache_creation_nanousd", "5-minute cache write"),
    "cache_write_1h": ("cache_creation_1h_nanousd", "1-hour cache write"),
    "cache_read": ("cache_read_nanousd", "cache read"),
}
_USD_MAX = 10_000  # A million tokens beyond that: a decimal point was forgotten.
# One USD per thousand searches.
_NANOUSD_PER_SEARCH = 1_000_000


class Command(BaseCommand):
    """Makes a price, or changes the one of this model, instant and band; the ledger stays."""

    help = (
        "Set a model's prices in USD per million tokens, from an instant on. What was charged stays"
        " as it was. A price of the same model, --from and --band is changed in what is given;"
        " a new one needs all five rates."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="a model of the catalogue")
        parser.add_argument(
            "--from",
            dest="starts_at",
            type=arguments.moment,
            metavar="ISO",
            help="in force from then on, such as 2027-01-31; UTC if it does not say (default: now)",
        )
        parser.add_argument(
            "--band",
            type=int,
            default=0,
            metavar="TOKENS",
            help="for prompts of at least so many tokens (default: 0, all prompts)",
        )
        for option, (_column, meaning) in _RATES.items():
            name = f"--{option.replace('_', '-')}"
            parser.add_argument(
                name, type=_usd, metavar="USD", default=fields.KEPT, help=f"{meaning}, a million"
            )
        parser.add_argument(
            "--search",
            type=_usd,
            metavar="USD",
            default=fields.KEPT,
            help="web searches, a thousand (a new price: 0)",
        )
        parser.add_argument(
            "--us-percent",
            type=int,
            metavar="N",
            default=fields.KEPT,
            help="factor on token rates for US inference (a new price: 100)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        model = ClaudeModel.objects.filter(model_id=options["model"]).first()
        if model is None:
            raise CommandError(f"There is no model '{options['model']}'. See: manage.py model_set")
        place: Any = {
            "model": model,
            "starts_at": options["starts_at"] or timezone.now(),
            "prompt_tokens_min": options["band"],
        }
        stored = Price.objects.filter(**place).first()
        said: Any = _said(options)
        if stored is None and (missing := [o for o in _RATES if options[o] is fields.KEPT]):
            names = ", ".join(f"--{option.replace('_', '-')}" for option in missing)
            raise CommandError(f"A new price needs {names} too.")
        try:
            done = price_set(price=stored, fields=place | said, acting_user=None)
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        self.stdout.write(f"Price {done.pk}, {done}, is {'as you say' if stored else 'made'}.")


def _said(options: dict[str, Any]) -> dict[str, int]:
    said = {}
    try:
        for option, (column, _meaning) in _RATES.items():
            if options[option] is not fields.KEPT:
                said[column] = nanousd_per_token(options[option])
    except ValueError as error:
        raise CommandError(str(error)) from error
    if options["search"] is not fields.KEPT:
        said["web_search_nanousd"] = int(options["search"] * _NANOUSD_PER_SEARCH)
    if options["us_percent"] is not fields.KEPT:
        said["us_percent"] = options["us_percent"]
    return said


def _usd(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ArgumentTypeError(
            f"'{text}' is no amount of US dollars, such as 3 or 0.25"
        ) from error
    if not amount.is_finite() or not 0 <= amount <= _USD_MAX:
        raise ArgumentTypeError(f"{text} USD is not between 0 and {_USD_MAX:,}")
    return amount
