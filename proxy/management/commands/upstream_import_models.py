"""`manage.py upstream_import_models NAME`: add an account's models to the catalogue."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.arguments import comma_list, sentence
from proxy.core.listing import Candidate
from proxy.management import arguments
from proxy.services import models_import
from proxy.trial import offer


class Command(BaseCommand):
    """Adds what the catalogue does not have, not on offer unless told so. Deletes nothing."""

    help = (
        "Add the models of an upstream account that the catalogue does not have. They are not on"
        " offer to clients until they are enabled."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--dry-run", action="store_true", help="show what would be added")
        parser.add_argument(
            "--only", type=comma_list, metavar="ID,ID", help="these alone (default: all new ones)"
        )
        parser.add_argument(
            "--enable",
            type=comma_list,
            default=[],
            metavar="ID,ID",
            help="put these on offer at once",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        account = arguments.account_called(options["name"])
        offered = offer(account)
        if offered.probe.trouble:
            raise CommandError(offered.probe.trouble)
        wanted = options["only"]
        chosen = [c for c in offered.candidates if wanted is None or c.model_id in wanted]
        _require_offered({c.model_id for c in chosen}, options)
        if not options["dry_run"]:
            try:
                models_import(
                    account=account, chosen=chosen, enabled=options["enable"], acting_user=None
                )
            except ValidationError as error:
                raise CommandError(sentence(error)) from error
        for candidate in chosen:
            self.stdout.write(_line(candidate, candidate.model_id in options["enable"]))
        verb = "would be added" if options["dry_run"] else "added"
        self.stdout.write(f"Models {verb}: {len(chosen)} of {len(offered.probe.models)} listed.")


def _require_offered(chosen: set[str], options: dict[str, Any]) -> None:
    strange = [
        name for name in [*(options["only"] or []), *options["enable"]] if name not in chosen
    ]
    if strange:
        raise CommandError(f"Not among what could be added: {', '.join(strange)}.")


def _line(candidate: Candidate, enabled: bool) -> str:
    guessed = " (limits guessed: upstream does not say)" if candidate.guessed else ""
    return (
        f"{candidate.model_id}: {candidate.display_name},"
        f" {candidate.context_window_tokens:,} tokens in,"
        f" {candidate.output_tokens_max:,} out{guessed}, {'on' if enabled else 'not on'} offer"
    )
