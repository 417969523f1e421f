"""What the commands about targets of alerts share."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from keys.management.arguments import comma_list
from operators.alerts.models import KINDS, AlertTarget

KIND_NAMES = ", ".join(kind for kind, _label in KINDS)


def add_kinds(parser: ArgumentParser, default: object) -> None:
    """Add --kinds."""
    parser.add_argument(
        "--kinds",
        type=comma_list,
        metavar="K,K",
        default=default,
        help=f"what it is told of, '' for all: {KIND_NAMES}",
    )


def target_called(name: str) -> AlertTarget:
    """Return the target. Raises `CommandError` if there is none."""
    target = AlertTarget.objects.filter(name=name).first()
    if target is None:
        raise CommandError(f"There is no alert target '{name}'. See: manage.py alerttarget_list")
    return target


def secret_text(secret: str) -> str:
    """Return how a new secret of a webhook is told, "" if there is none."""
    return f" Its secret is shown this once:\n\n    {secret}\n" if secret else ""
