"""`manage.py model_set ID`: put a model into the catalogue, change it, or take it off."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments, fields
from keys.models import ClaudeModel
from keys.services import claude_model_create, claude_model_update

_FIELDS = {
    "display_name": "display_name",
    "released": "released_at",
    "context": "context_window_tokens",
    "output": "output_tokens_max",
    "cache_ttl": "cache_ttl_s",
    "position": "position",
    "enabled": "enabled",
}


class Command(BaseCommand):
    """Changes what is given and leaves the rest; a model that is not there is made."""

    help = (
        "Change a model of the catalogue: what is given, and nothing else. One that is not there is"
        " added; then --display-name, --released, --context and --output must be said."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="as clients name it, without a date: claude-haiku-4-5")
        parser.add_argument("--display-name", default=fields.KEPT, help="such as 'Claude Haiku'")
        parser.add_argument(
            "--released",
            type=arguments.moment,
            metavar="ISO",
            default=fields.KEPT,
            help="what the models list prints as created_at",
        )
        numbers = {
            "--context": "longest input in tokens",
            "--output": "longest output in tokens",
            "--cache-ttl": "seconds for which an answer to a short prompt is kept, 0: never",
            "--position": "order in lists",
        }
        for option, meaning in numbers.items():
            parser.add_argument(option, type=int, metavar="N", default=fields.KEPT, help=meaning)
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument(
            "--enable", dest="enabled", action="store_true", default=fields.KEPT, help="offer it"
        )
        switch.add_argument(
            "--disable",
            dest="enabled",
            action="store_false",
            default=fields.KEPT,
            help="refuse it from now on; the ledger keeps what it did",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        said: Any = fields.given(options, _FIELDS)
        stored = ClaudeModel.objects.filter(model_id=options["id"]).first()
        try:
            if stored is None:
                claude_model_create(model_id=options["id"], fields=said, acting_user=None)
            else:
                claude_model_update(claude_model=stored, changes=said, acting_user=None)
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        self.stdout.write(f"Model {options['id']} is {'as you say' if stored else 'added'}.")
