"""Keys in and out as CSV. An export holds no secret; an import issues keys, all of them or none."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet

from keys.changes import sentence
from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.core.secret import Secret
from keys.core.table import (
    ALL,
    COLUMNS,
    FACTS,
    NONE,
    BadTable,
    Problem,
    Row,
    budget_cell,
    cell,
    flag_cell,
)
from keys.inheritance import budget_spec
from keys.models import ApiKey, Plan, Team
from keys.services import apikey_issue

# Keys that are looked up at once while an export streams.
KEYS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Imported:
    """One key that was issued, and its secret."""

    line: int
    apikey: ApiKey
    secret: Secret


def apikeys_import(
    *,
    rows: list[Row],
    acting_user: User | None,
    acting_address: str | None = None,
    dry_run: bool = False,
) -> list[Imported]:
    """Issue a key for each row, or with `dry_run` find out whether that would go.

    Raises `BadTable` with every row that cannot be issued; then none is. What a dry run returns was
    never stored: its ids and secrets are worth nothing.
    """
    issued: list[Imported] = []
    problems: list[Problem] = []
    with transaction.atomic():
        finder = _Finder(rows)
        for row in rows:
            try:
                with transaction.atomic():
                    found = finder.fields(row)
                    key = apikey_issue(
                        name=row.name,
                        acting_user=acting_user,
                        acting_address=acting_address,
                        **found,
                        **row.given,
                    )
                issued.append(Imported(row.line, *key))
            except ValidationError as error:
                problems.append(Problem(row.line, sentence(error)))
            except PermissionDenied as error:
                problems.append(Problem(row.line, str(error)))
        if problems or dry_run:
            transaction.set_rollback(True)
    if problems:
        raise BadTable(problems)
    return issued


def export(apikeys: QuerySet[ApiKey]) -> Iterator[list[str]]:
    """Return the lines of a CSV of `apikeys`, the names of the columns first, by their ids."""
    yield [*COLUMNS, *FACTS]
    rows = apikeys.select_related("team", "owner", "plan").prefetch_related("budgets")
    for apikey in _in_pages(rows.order_by("pk")):
        specs = [budget_spec(budget) for budget in apikey.budgets.all()]
        cells = _cells(apikey, specs)
        cells |= {name: "" for name in _inherited(apikey)}
        yield [cell(cells[name]) for name in (*COLUMNS, *FACTS)]


def _in_pages(rows: QuerySet[ApiKey]) -> Iterator[ApiKey]:
    # A query each: no transaction stays open while somebody downloads, and no cursor of a session
    # that a pooler gives to others.
    page = list(rows[:KEYS_AT_ONCE])
    while page:
        yield from page
        page = list(rows.filter(pk__gt=page[-1].pk)[:KEYS_AT_ONCE])


def lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Return `rows` as lines of a CSV file, one by one."""
    writer = csv.writer(_Echo(), lineterminator="\n")
    return (writer.writerow(row) for row in rows)


class _Echo:
    def write(self, line: str) -> str:
        return line


class _Finder:
    """Teams, plans and owners by name, all read at once."""

    def __init__(self, rows: list[Row]) -> None:
        self._teams = {
            team.name: team for team in Team.objects.filter(name__in={row.team for row in rows})
        }
        self._plans = {
            plan.name: plan for plan in Plan.objects.filter(name__in={row.plan for row in rows})
        }
        owners = User.objects.filter(username__in={row.owner for row in rows})
        self._owners = {owner.username: owner for owner in owners}

    def fields(self, row: Row) -> dict[str, object]:
        known = (
            ("team", row.team, self._teams),
            ("plan", row.plan, self._plans),
            ("owner", row.owner, self._owners),
        )
        for kind, name, rows in known:
            if name and name not in rows:
                raise ValidationError({kind: f"There is none called '{name}'."})
        return {kind: rows[name] if name else None for kind, name, rows in known}


def _cells(apikey: ApiKey, specs: list[BudgetSpec]) -> dict[str, str]:
    tokens, usd = (budget_cell(specs, unit) for unit in (Unit.TOKENS, Unit.NANOUSD))
    if not specs and apikey.plan is None:
        tokens = NONE  # An empty cell would be the budget that a plain key gets.
    return {
        "name": apikey.name,
        "team": apikey.team.name if apikey.team else "",
        "owner": apikey.owner.get_username() if apikey.owner else "",
        "plan": apikey.plan.name if apikey.plan else "",
        "rpm": _limit(apikey.rpm),
        "concurrency": _limit(apikey.concurrency),
        "models": " ".join(apikey.models) or ALL,
        "cidrs": " ".join(apikey.cidrs),
        "tokens": tokens,
        "usd": usd,
        "wait_s": str(apikey.wait_s),
        "cache": "on" if apikey.cache_enabled else "off",
        "hangup": apikey.hangup,
        "strict": flag_cell(specs, "strict"),
        "anchored": flag_cell(specs, "anchored"),
        "during_maintenance": "on" if apikey.during_maintenance else "off",
        "expires_at": apikey.expires_at.isoformat() if apikey.expires_at else "",
        "prefix": apikey.prefix,
        "last_four": apikey.last_four,
        "status": apikey.status.value,
    }


def _inherited(apikey: ApiKey) -> list[str]:
    return ["cache" if name == "cache_enabled" else name for name in apikey.inherited]


def _limit(value: int | None) -> str:
    return NONE if value is None else str(value)
