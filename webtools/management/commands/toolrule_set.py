"""`manage.py toolrule_set`: whether a key, or each key of a plan, may use web tools."""

from argparse import BooleanOptionalAction
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.arguments import rate, sentence
from keys.management.fields import KEPT
from keys.management.rows import find_key, find_plan
from keys.models import ApiKey, Plan
from webtools.models import ToolRule
from webtools.services import ToolRuleChanges, tool_rule_delete, tool_rule_set

FIELDS = {"tools": "enabled", "always": "always", "calls_per_day": "calls_per_day"}


class Command(BaseCommand):
    """Makes a rule, changes in it what is given, or deletes it."""

    help = (
        "Make or change the rule of a key, or of all keys of a plan, for web tools. A key's own"
        " comes before its plan's, and that before what tavily_set says for all."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
        whose.add_argument("--plan", metavar="NAME", help="each key of a plan")
        parser.add_argument(
            "--tools", action=BooleanOptionalAction, default=KEPT, help="web tools, or none"
        )
        parser.add_argument(
            "--always",
            action=BooleanOptionalAction,
            default=KEPT,
            help="in every message without tools of its own, or in those that ask",
        )
        parser.add_argument(
            "--calls-per-day",
            type=rate,
            metavar="N",
            default=KEPT,
            help="of each key, or none for unlimited",
        )
        parser.add_argument("--delete", action="store_true", help="what holds for all holds again")

    def handle(self, *_args: Any, **options: Any) -> None:
        holder = find_key(options["key"]) if options["key"] else find_plan(options["plan"])
        if options["delete"]:
            self._delete(holder)
            return
        changes: Any = {f: options[o] for o, f in FIELDS.items() if options[o] is not KEPT}
        self._set(holder, changes)

    def _set(self, holder: ApiKey | Plan, changes: ToolRuleChanges) -> None:
        try:
            rule = tool_rule_set(holder=holder, changes=changes, acting_user=None)
        except ValidationError as error:
            raise CommandError(sentence(error)) from error
        calls = "unlimited" if rule.calls_per_day is None else f"{rule.calls_per_day:,}"
        words = f"{'on' if rule.enabled else 'off'}, {calls} calls a day"
        self.stdout.write(f"{rule}: {words}{', in every message' if rule.always else ''}.")

    def _delete(self, holder: ApiKey | Plan) -> None:
        rule: ToolRule | None = getattr(holder, "tool_rule", None)
        if rule is None:
            raise CommandError(f"{holder} has no rule for web tools.")
        tool_rule_delete(rule=rule, acting_user=None)
        self.stdout.write(f"The rule of {holder} is deleted.")
