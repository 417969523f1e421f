"""`manage.py person_erase`: take a person out of everything that is kept."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from claudcode import erasing
from keys.purge import EntriesRemain


class Command(BaseCommand):
    help = (
        "Say what is kept of a person, and with --erase take it away: accounts are deleted, their"
        " keys revoked; keys, ledger entries and audit trail stay without a name, and no sum moves."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--user", action="append", default=[], help="name or mail address of an account"
        )
        parser.add_argument("--key", action="append", default=[], help="prefix of an API key")
        parser.add_argument("--address", action="append", default=[], help="address of a client")
        parser.add_argument("--session", action="append", default=[], help="id of a session")
        parser.add_argument("--erase", action="store_true", help="do it; it cannot be undone")

    def handle(self, **options: Any) -> None:
        given = [options[name] for name in ("user", "key", "address", "session")]
        if not any(given):
            raise CommandError("Say who: --user, --key, --address or --session.")
        try:
            person = erasing.find(*given)
            erasing.require_no_hold(person)
            counts = erasing.erase(person) if options["erase"] else person.counts()
        except (LookupError, erasing.UnderLegalHold) as error:
            raise CommandError(str(error)) from None
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        except EntriesRemain:
            raise CommandError("Valkey does not answer. Run it again when it does.") from None
        for name, count in counts.items():
            self.stdout.write(f"{name.replace('_', ' ')}: {count}")
        self._what_next(person, erased=options["erase"])

    def _what_next(self, person: erasing.Person, *, erased: bool) -> None:
        if not erased:
            self.stdout.write("Nothing was changed. To erase all of it, add --erase.")
            return
        self.stdout.write(f"Erased; the audit trail calls them {person.pseudonym}.")
        if person.apikeys:
            prefixes = " ".join(f"--key {key.prefix}" for key in person.apikeys)
            self.stdout.write(f"Once exchanges in flight have ended, run it again: {prefixes}")
