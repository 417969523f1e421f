"""`manage.py tavily_test`: ask Tavily, at no cost, whether it takes the gateway's credential."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webtools.trial import tavily_test


class Command(BaseCommand):
    """Says what came back; fails if web tools would."""

    help = "Ask Tavily how the gateway's credential stands, which costs nothing."

    def handle(self, *_args: Any, **_options: Any) -> None:
        trial = tavily_test()
        if not trial.good:
            raise CommandError(trial.text)
        self.stdout.write(trial.text)
