"""Takes out of the ledger, and of what is derived from it, who made an exchange and from where.

Counts and money stay as they are: what is emptied is in no sum. A user agent is cut down to the
beginning that its family is known by, so that roll-ups by client do not move either; roll-ups of
sessions go with the names of the sessions.

Statements are batches of rows, each a transaction of its own: killed anywhere, it goes on where it
was when it is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection, transaction

from usage.core.client import FAMILIES
from usage.folding import fold_all
from usage.models import DeadLetter, SessionRollup

BATCH = 5_000
# Fits no family, so it counts as `other`, as what was there did.
ERASED_AGENT = "erased"
_AGENT = " ".join(
    f"WHEN lower(client_agent) LIKE '{start}%%' THEN '{start}'" for start, _name in FAMILIES
)
_AGENT = f"CASE WHEN client_agent = '' THEN '' {_AGENT} ELSE '{ERASED_AGENT}' END"
_EMPTIED = ("client_address", "session_id", "agent_id", "parent_agent_id")
_LEFT = " OR ".join(f"{name} <> ''" for name in _EMPTIED) + f" OR client_agent <> {_AGENT}"
_COUNT = f"SELECT count(*) FROM usage_ledgerentry WHERE ({{whose}}) AND ({_LEFT})"
_TEAMS = "SELECT DISTINCT team_id FROM usage_ledgerentry WHERE ({whose}) AND team_id IS NOT NULL"
_ERASE = f"""
WITH due AS (
    SELECT exchange_id FROM usage_ledgerentry
    WHERE ({{whose}}) AND ({_LEFT}) AND exchange_id > %(after)s
    ORDER BY exchange_id LIMIT {BATCH}
), emptied AS (
    UPDATE usage_ledgerentry AS entry
    SET {", ".join(f"{name} = ''" for name in _EMPTIED)}, client_agent = {_AGENT}
    FROM due WHERE entry.exchange_id = due.exchange_id
    RETURNING entry.exchange_id
)
SELECT count(*), max(exchange_id::text) FROM emptied
"""
_FIRST = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose exchanges: all of some keys, all from some addresses, all of some sessions."""

    apikeys: Sequence[int] = ()
    addresses: Sequence[str] = ()
    sessions: Sequence[str] = ()

    @property
    def condition(self) -> str:
        """As a statement has it, with `parameters`; empty lists would only cost a pass."""
        columns = {"apikey_id": "apikeys", "client_address": "addresses", "session_id": "sessions"}
        named = [f"{c} = ANY(%({n})s)" for c, n in columns.items() if getattr(self, n)]
        return " OR ".join(named) or "false"

    @property
    def parameters(self) -> dict[str, Any]:
        """What `condition` has places for."""
        return {
            "apikeys": list(self.apikeys),
            "addresses": list(self.addresses),
            "sessions": list(self.sessions),
        }


def entries_to_erase(whose: Whose) -> int:
    """Return how many ledger entries say more than they need to. Reads the whole ledger, unless
    `whose` names keys alone.
    """
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(whose=whose.condition), whose.parameters)
        return int(cursor.fetchone()[0])


def teams_of(whose: Whose) -> set[int]:
    """Return the ids of the teams that the entries are of."""
    with connection.cursor() as cursor:
        cursor.execute(_TEAMS.format(whose=whose.condition), whose.parameters)
        return {team_id for (team_id,) in cursor.fetchall()}


def erase(whose: Whose) -> int:
    """Empty the entries and what is derived from them; return how many entries there were."""
    total, after = 0, _FIRST
    while after:
        some, after = _erase_batch(whose, after)
        total += some
    fold_all()  # What was noted of the entries before still has their sessions.
    # Sums of sessions whose entries are gone already are all that is left of them.
    rows = SessionRollup.objects.all()
    rows.filter(apikey_id__in=whose.apikeys).delete()
    rows.filter(session_id__in=whose.sessions).delete()
    rows.filter(requests=0).delete()
    _erase_dead_letters(whose)
    return total


@transaction.atomic
def _erase_batch(whose: Whose, after: str) -> tuple[int, str]:
    with connection.cursor() as cursor:
        statement = _ERASE.format(whose=whose.condition)
        cursor.execute(statement, whose.parameters | {"after": after})
        count, last = cursor.fetchone()
        return int(count), last or ""


def _erase_dead_letters(whose: Whose) -> None:
    for letter in DeadLetter.objects.all().iterator():
        emptied = _emptied(letter.fields, whose)
        if emptied is not None:
            DeadLetter.objects.filter(pk=letter.pk).update(fields=emptied)


def _emptied(fields: Any, whose: Whose) -> dict[str, Any] | None:
    try:
        opening = orjson.loads(fields["o"])
        theirs = (
            opening.get("apikey_id") in whose.apikeys
            or opening.get("client_address") in whose.addresses
            or opening.get("session_id") in whose.sessions
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not theirs:
        return None
    opening |= dict.fromkeys((*_EMPTIED, "client_agent"), "")
    return {**fields, "o": orjson.dumps(opening).decode()}
