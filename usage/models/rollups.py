"""Summary tables derived from the ledger, and how far those of dashboards are behind it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F
from django.db.models.functions import Coalesce

from keys.models import ApiKey, Team
from usage.models.columns import ledger_key, text_field


class HourlyRollup(models.Model):
    """What one key used of one model in one hour: sums over the ledger, written with it.

    `hour` is when exchanges were settled; `model` is what answered, or else what was asked for.
    Amounts have no lower bound here: a row that is taken back arrives as a negative difference.
    """

    hour = models.DateTimeField()
    apikey = ledger_key(ApiKey)
    team = ledger_key(Team, null=True)
    model = text_field()
    requests = models.BigIntegerField()
    errors = models.BigIntegerField()
    hung_up = models.BigIntegerField()
    abandoned = models.BigIntegerField()
    estimated = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_creation_input_tokens = models.BigIntegerField()
    cache_creation_1h_input_tokens = models.BigIntegerField()
    cache_read_input_tokens = models.BigIntegerField()
    web_search_requests = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    cost_nanousd = models.BigIntegerField()
    cache_hits = models.BigIntegerField(db_default=0)
    cache_misses = models.BigIntegerField(db_default=0)
    saved_tokens = models.BigIntegerField(db_default=0)
    saved_nanousd = models.BigIntegerField(db_default=0)

    class Meta:
        verbose_name = "hourly roll-up"
        ordering = ("-hour",)
        indexes = (
            # One key's or one team's hours; the unique index below begins with the hour.
            models.Index(fields=("apikey", "hour"), name="hourlyrollup_apikey_hour"),
            models.Index(fields=("team", "hour"), name="hourlyrollup_team_hour"),
        )
        constraints = (
            # No team counts as team 0: Postgres 14 cannot call two nulls the same.
            models.UniqueConstraint(
                F("hour"), F("apikey"), Coalesce("team", 0), F("model"), name="hourlyrollup_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.model}"


class _Summed(models.Model):
    """What roll-ups for dashboards add up. `usage.rolling` writes them."""

    requests = models.BigIntegerField()
    errors = models.BigIntegerField()
    hung_up = models.BigIntegerField()
    abandoned = models.BigIntegerField()
    estimated = models.BigIntegerField()
    cache_hits = models.BigIntegerField()
    cache_misses = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_creation_input_tokens = models.BigIntegerField()
    cache_creation_1h_input_tokens = models.BigIntegerField()
    cache_read_input_tokens = models.BigIntegerField()
    web_search_requests = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    cost_nanousd = models.BigIntegerField()
    saved_tokens = models.BigIntegerField()
    saved_nanousd = models.BigIntegerField()

    class Meta:
        abstract = True


class KeyRollup(_Summed):
    """What one key used in a quarter of an hour, a day or a month of UTC, told apart every way.

    `grain` is q, d or m; months are not told apart. Team 0 is none, "" is nothing to name.
    """

    grain = models.CharField(max_length=1)
    at = models.DateTimeField()
    apikey_id = models.BigIntegerField()
    team_id = models.BigIntegerField()
    model = text_field()
    upstream = text_field()
    client = text_field()
    error_type = text_field()

    class Meta:
        indexes = (
            # The largest keys of everybody, and of one team.
            models.Index(fields=("grain", "at"), name="keyrollup_at"),
            models.Index(fields=("team_id", "grain", "at"), name="keyrollup_team_at"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "apikey_id",
                    "grain",
                    "at",
                    "team_id",
                    "model",
                    "upstream",
                    "client",
                    "error_type",
                ),
                name="keyrollup_unique",
            ),
        )


class GroupRollup(_Summed):
    """What everybody (team 0) used in a quarter, hour or day (q, h, d) of UTC, and a team in a day.

    Told apart by one facet at a time: "" by nothing, else model, upstream, client or error_type.
    """

    grain = models.CharField(max_length=1)
    facet = models.CharField(max_length=10)
    team_id = models.BigIntegerField()
    at = models.DateTimeField()
    value = text_field()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("grain", "facet", "team_id", "at", "value"), name="grouprollup_unique"
            ),
        )


class LatencyRollup(models.Model):
    """How many exchanges of a holder took how long in an hour or a day (h, d) of UTC.

    `holder` is a, t or k: all, a team, a key. `measure` is f or t: first byte, total. `bucket`
    counts the bounds of `usage.core.histogram` that are not above.
    """

    holder = models.CharField(max_length=1)
    holder_id = models.BigIntegerField()
    grain = models.CharField(max_length=1)
    measure = models.CharField(max_length=1)
    at = models.DateTimeField()
    model = text_field()
    bucket = models.SmallIntegerField()
    count = models.BigIntegerField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("holder", "holder_id", "grain", "measure", "at", "model", "bucket"),
                name="latencyrollup_unique",
            ),
        )


class SessionRollup(models.Model):
    """What one agent of one session of one key used on a day of UTC. Kept for some weeks."""

    day = models.DateTimeField()
    apikey_id = models.BigIntegerField()
    team_id = models.BigIntegerField()
    session_id = text_field()
    agent_id = text_field()
    parent_agent_id = text_field()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    requests = models.BigIntegerField()
    errors = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_creation_input_tokens = models.BigIntegerField()
    cache_read_input_tokens = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    cost_nanousd = models.BigIntegerField()

    class Meta:
        indexes = (
            # The dearest sessions of a key, of a team and of everybody; one session's agents.
            models.Index(fields=("apikey_id", "day"), name="sessionrollup_apikey_day"),
            models.Index(fields=("team_id", "day"), name="sessionrollup_team_day"),
            models.Index(fields=("session_id",), name="sessionrollup_session"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "day",
                    "apikey_id",
                    "team_id",
                    "session_id",
                    "agent_id",
                    "parent_agent_id",
                ),
                name="sessionrollup_unique",
            ),
        )


def _one_each() -> ArrayField:
    return ArrayField(models.BigIntegerField())


class HeavyHitters(models.Model):
    """Who used most in one hour or day (h, d) of UTC: keys (k), or teams (t).

    `ids` are those who used more of some measure than anybody who is not among them; the columns
    named after measures say what each of `ids` used. In the order of `usage.heavy_hitters.RANKED`
    `rest` is the most that anybody else used, and `whole` what everybody used together: where the
    roll-ups say something else by now, the list is of no use.
    """

    holder = models.CharField(max_length=1)
    grain = models.CharField(max_length=1)
    at = models.DateTimeField()
    whole = _one_each()
    rest = _one_each()
    ids = _one_each()
    requests = _one_each()
    errors = _one_each()
    charged_tokens = _one_each()
    cost_nanousd = _one_each()
    saved_nanousd = _one_each()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("holder", "grain", "at"), name="heavyhitters_unique"),
        )


class RollupDelta(models.Model):
    """What the ledger gained or lost (`sign`) and dashboards' roll-ups were not told yet.

    The ledger's trigger notes it, `usage.folding` takes it away within seconds.
    """

    sign = models.SmallIntegerField()
    apikey_id = models.BigIntegerField()
    team_id = models.BigIntegerField(null=True)
    admitted_at = models.DateTimeField()
    settled_at = models.DateTimeField()
    status = text_field()
    error_type = text_field()
    model_requested = text_field()
    model_answered = text_field()
    upstream = text_field()
    client_agent = text_field()
    session_id = text_field()
    agent_id = text_field()
    parent_agent_id = text_field()
    cache = text_field()
    estimated = models.BooleanField()
    first_byte_ms = models.BigIntegerField(null=True)
    total_ms = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_creation_input_tokens = models.BigIntegerField()
    cache_creation_1h_input_tokens = models.BigIntegerField()
    cache_read_input_tokens = models.BigIntegerField()
    web_search_requests = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    cost_nanousd = models.BigIntegerField()
    saved_tokens = models.BigIntegerField()
    saved_nanousd = models.BigIntegerField()


class Backfill(models.Model):
    """How far entries that are older than the roll-ups were added to them; no row: all were.

    One row at most. Entries up to `exchange_id` are in the roll-ups, later ones are not.
    """

    exchange_id = models.UUIDField()
