"""Migrations newer than the release before must be safe while that goes on: nothing it knows goes
away, nothing new is asked of it, and no lock on a table that grows is held for long.

`RunPython` and `RunSQL` are for tests of their own, and for the acceptance test that runs the
release before (`tests/acceptance/postgres/test_previous_release.py`).
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.postgres import operations as concurrent
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader

from tests.previous_release import recorded

PREVIOUS = recorded()
APPS = ("keys", "usage", "proxy", "operators", "alerts", "webtools")
GOES_AWAY = (
    migrations.RemoveField,
    migrations.RenameField,
    migrations.RenameModel,
    migrations.DeleteModel,
    migrations.AlterModelTable,
    migrations.AlterUniqueTogether,
)
# Indexes and constraints of these are made beside the work that goes on.
GROWS = {
    *("keys.apikey", "keys.auditevent", "alerts.alert", "usage.ledgerentry", "usage.hourlyrollup"),
    *("usage.keyrollup", "usage.grouprollup", "usage.latencyrollup", "usage.sessionrollup"),
}
LOCKS = (migrations.AddIndex, migrations.AddConstraint)
BESIDE = (concurrent.AddIndexConcurrently, concurrent.AddConstraintNotValid)


def newer() -> Iterator[tuple[str, Any]]:
    found = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    for (app, name), migration in sorted(found.items()):
        if app in APPS and f"{app}.{name}" not in PREVIOUS["migrations"]:
            yield from ((f"{app}.{name}", each) for each in flat(migration.operations))


def flat(operations: Any) -> Iterator[Any]:
    for operation in operations:
        yield operation
        yield from flat(getattr(operation, "database_operations", ()))


def problem(app: str, operation: Any) -> str:
    """Return what is wrong with an operation, nothing if all is well."""
    if isinstance(operation, GOES_AWAY):
        return "takes away what the release before knows"
    if isinstance(operation, migrations.AddField) and not fills_itself(operation.field):
        return "adds a column that the release before would have to fill: null or db_default"
    table = f"{app}.{getattr(operation, 'model_name', '')}".lower()
    if isinstance(operation, LOCKS) and not isinstance(operation, BESIDE) and table in GROWS:
        return "locks a table that grows: AddIndexConcurrently, AddConstraintNotValid"
    return ""


def fills_itself(field: Any) -> bool:
    return field.null or field.many_to_many or field.has_db_default()


def test_nothing_newer_breaks_the_release_before():
    found = [
        f"{name}: {operation} {problem(name.split('.')[0], operation)}"
        for name, operation in newer()
        if problem(name.split(".")[0], operation)
    ]
    assert not found


@pytest.mark.parametrize(
    ("operation", "refused"),
    [
        (migrations.RemoveField("Team", "name"), True),
        (migrations.RenameField("Team", "name", "title"), True),
        (migrations.AddField("Team", "one", models.TextField(default="")), True),
        (migrations.AddField("Team", "one", models.TextField(db_default="")), False),
        (migrations.AddField("Team", "one", models.TextField(null=True)), False),
        (migrations.AddIndex("ApiKey", models.Index(fields=["name"], name="a")), True),
        (migrations.AddIndex("Team", models.Index(fields=["name"], name="a")), False),
        (
            concurrent.AddIndexConcurrently("ApiKey", models.Index(fields=["name"], name="a")),
            False,
        ),
    ],
    ids=str,
)
def test_the_rules_themselves(operation, refused):
    assert bool(problem("keys", operation)) is refused


def test_columns_that_the_release_before_knows_are_of_the_same_type():
    known = {
        model._meta.db_table: {f.column: f.db_type(connection) for f in model._meta.concrete_fields}
        for model in apps.get_models()
        if model._meta.app_label in APPS
    }
    changed = [
        f"{table}.{column}: {kind}, now {known.get(table, {}).get(column)}"
        for table, columns in PREVIOUS["tables"].items()
        for column, kind in columns.items()
        if known.get(table, {}).get(column) != kind
    ]
    assert not changed
