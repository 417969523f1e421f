"""Sums over the hourly roll-up: by key, team, model, hour and day, within bounds.

Never adds up the ledger. Everybody's hours and days are read where they are summed up already, with
what is not yet: the answer is the same. Models are not, for there a snapshot counts as its model.
An answer is whole or refused: a cut table would be taken for all of it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncDay
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from psycopg.errors import QueryCanceled
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.base import ServiceViewSet
from keys.api.fields import Moment, QueryInteger, Strict
from keys.api.problems import RuleBroken
from usage import replica
from usage.models import AMOUNTS, HourlyRollup
from usage.reading.hours import Length, everybody

ROWS_MAX = 10_000
SPAN_MAX = dt.timedelta(days=366)
SPAN_DEFAULT = dt.timedelta(days=1)
# Longer than any sensible question takes; a careless one must not hold a connection.
QUERY_MS_MAX = 10_000

SUMS = (
    "requests",
    "errors",
    "hung_up",
    "abandoned",
    "estimated",
    *AMOUNTS,
    "cache_hits",
    "cache_misses",
)
# What may be grouped by, and the column it is.
GROUPS: dict[str, Any] = {
    "apikey": F("apikey_id"),
    "team": F("team_id"),
    "model": F("model"),
    "hour": F("hour"),
    "day": TruncDay("hour", tzinfo=dt.UTC),
}
_NAMES = {"apikey": "apikey_id", "team": "team_id"}
_FILTERS = ("apikey_id", "team_id", "model")
# What everybody's hours are told apart by, and how long that is.
_LENGTHS = {(): Length.ALL, ("hour",): Length.HOUR, ("day",): Length.DAY}


class UsageQuery(Strict):
    """What to add up: hours that begin in [since, until), the last day unless told otherwise."""

    since = Moment(required=False)
    until = Moment(required=False, help_text="At most 366 days after `since`.")
    group_by = serializers.RegexField(
        r"^(apikey|team|model|hour|day)(,(apikey|team|model|hour|day)){0,4}$",
        required=False,
        max_length=40,
        help_text="By commas: apikey, team, model, hour, day. Without it: one row.",
    )
    apikey_id = QueryInteger(min_value=1, required=False)
    team_id = QueryInteger(min_value=1, required=False)
    model = serializers.CharField(max_length=200, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        until = attrs.setdefault("until", timezone.now())
        try:
            since = attrs.setdefault("since", until - SPAN_DEFAULT)
        except OverflowError as error:
            raise serializers.ValidationError({"until": ["Nothing is that old."]}) from error
        if not dt.timedelta(0) < until - since <= SPAN_MAX:
            raise serializers.ValidationError({"until": ["0 to 366 days after since."]})
        groups = [name for name in attrs.get("group_by", "").split(",") if name]
        if len(set(groups)) != len(groups) or {"hour", "day"} <= set(groups):
            raise serializers.ValidationError({"group_by": ["Each once, and hour or day."]})
        return attrs | {"group_by": groups}


class UsageRow(serializers.Serializer[Any]):
    """Sums of one group. Of the five names of groups, those that were asked for are there."""

    apikey_id = serializers.IntegerField(required=False)
    team_id = serializers.IntegerField(required=False, allow_null=True)
    model = serializers.CharField(required=False)
    hour = serializers.DateTimeField(required=False)
    day = serializers.DateTimeField(required=False, help_text="Midnight in UTC.")
    requests = serializers.IntegerField()
    errors = serializers.IntegerField()
    hung_up = serializers.IntegerField()
    abandoned = serializers.IntegerField()
    estimated = serializers.IntegerField(help_text="Requests whose counts are partly ours.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_creation_input_tokens = serializers.IntegerField()
    cache_creation_1h_input_tokens = serializers.IntegerField()
    cache_read_input_tokens = serializers.IntegerField()
    web_search_requests = serializers.IntegerField()
    charged_tokens = serializers.IntegerField(help_text="What budgets counted.")
    cost_nanousd = serializers.IntegerField()
    saved_tokens = serializers.IntegerField()
    saved_nanousd = serializers.IntegerField()
    cache_hits = serializers.IntegerField()
    cache_misses = serializers.IntegerField()


class UsageAnswer(serializers.Serializer[Any]):
    """The groups in their order, and what they add up to."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    items = UsageRow(many=True)


class Usage(ServiceViewSet):
    """What was used, added up."""

    area = "usage"
    serializer_class = UsageAnswer
    queryset = HourlyRollup.objects.all()

    @extend_schema(parameters=[UsageQuery], responses=UsageAnswer, operation_id="usage_query")
    def add_up(self, request: Request) -> Response:
        """Add up use by key, team, model, hour or day. More than 10,000 groups are refused."""
        asked = self.asked_for(UsageQuery, request)
        rows = replica.read(lambda: self._rows(asked))
        span = {"since": asked["since"], "until": asked["until"]}
        return Response(self.shown(span | {"items": rows}))

    def _rows(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        length = _LENGTHS.get(tuple(asked["group_by"]))
        if length is not None and not any(name in asked for name in _FILTERS):
            found = _of_everybody(asked["since"], asked["until"], length)
            if found is not None:
                return found
        return _added_up(self._within(asked), asked["group_by"])

    def _within(self, asked: Mapping[str, Any]) -> QuerySet[HourlyRollup]:
        exact = {name: asked[name] for name in _FILTERS if name in asked}
        return self.get_queryset().filter(
            hour__gte=asked["since"], hour__lt=asked["until"], **exact
        )


def _of_everybody(
    since: dt.datetime, until: dt.datetime, length: Length
) -> list[dict[str, Any]] | None:
    """Return what `_added_up` would, from a few rows an hour; `None` while they are being made."""
    found = _bounded(lambda: everybody(since, until, length))
    if found is None:
        return None
    if length is Length.ALL:
        return [found[0][1] if found else dict.fromkeys(SUMS, 0)]
    return [{length.name.lower(): at} | sums for at, sums in found]


def _added_up(rows: QuerySet[HourlyRollup], groups: Sequence[str]) -> list[dict[str, Any]]:
    """Return the sums of each group, in the order of the groups. Raises `RuleBroken`."""
    # Aliased: a group may be called what a column is.
    aliases = {f"by_{name}": GROUPS[name] for name in groups}
    sums = {f"sum_{name}": Coalesce(Sum(name), 0) for name in SUMS}
    if not groups:
        return [_row({}, _bounded(lambda: rows.aggregate(**sums)))]
    grouped = rows.order_by().values(**aliases).annotate(**sums).order_by(*aliases)
    found = _bounded(lambda: list(grouped[: ROWS_MAX + 1]))
    if len(found) > ROWS_MAX:
        raise RuleBroken(f"These are more than {ROWS_MAX:,} groups. Narrow the question.")
    names = {f"by_{name}": _NAMES.get(name, name) for name in groups}
    return [_row({name: row[by] for by, name in names.items()}, row) for row in found]


def _row(group: dict[str, Any], sums: Mapping[str, Any]) -> dict[str, Any]:
    return group | {name: sums[f"sum_{name}"] for name in SUMS}


def _bounded(ask: Any) -> Any:
    try:
        with transaction.atomic(using=replica.alias()):
            with replica.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {QUERY_MS_MAX}")
            return ask()
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise RuleBroken("It takes too long to add up. Narrow the question.") from error
        raise
