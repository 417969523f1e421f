"""What the commands about upstream accounts share: arguments, and a credential that is no argument.

A credential on the command line would be in the shell's history and in every list of processes.
"""

import getpass
import sys
from argparse import ArgumentParser

from django.core.management.base import CommandError

from keys.management.arguments import comma_list, rate
from proxy.models import Auth, UpstreamAccount


def add_fields(parser: ArgumentParser) -> None:
    """Add the fields of an account; one that is not given is absent from the options."""
    parser.add_argument("--auth", choices=Auth.values, help="how the credential is sent")
    parser.add_argument("--priority", type=int, metavar="N", help="lower goes first (default: 10)")
    parser.add_argument("--weight", type=int, metavar="N", help="share among equals (default: 1)")
    parser.add_argument(
        "--concurrency", type=rate, metavar="N", help="exchanges in flight, or none", default=...
    )
    parser.add_argument(
        "--rpm", type=rate, metavar="N", help="requests a minute, or none", default=...
    )
    parser.add_argument(
        "--models",
        type=comma_list,
        metavar="ID,ID",
        help="ids or patterns that it serves, such as claude-haiku-*; '' for all (the default)",
    )


def fields(options: dict[str, object]) -> dict[str, object]:
    """Return the fields that were given. `None` for a limit is unlimited."""
    given = {name: options[name] for name in ("auth", "priority", "weight", "models")}
    chosen = {name: value for name, value in given.items() if value is not None}
    limits = {name: options[name] for name in ("concurrency", "rpm")}
    return chosen | {name: value for name, value in limits.items() if value is not ...}


def read_credential() -> str:
    """Return the credential, asked for at a terminal and else read from standard input."""
    credential = getpass.getpass("Credential: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not credential.strip():
        raise CommandError("There is no credential on standard input.")
    return credential.strip()


def account_called(name: str) -> UpstreamAccount:
    """Return the account. Raises `CommandError` if there is none."""
    account = UpstreamAccount.objects.filter(name=name).first()
    if account is None:
        raise CommandError(f"There is no upstream account '{name}'. See: manage.py upstream_list")
    return account
