"""What the release before asks of the schema, asked of the schema of this one.

Recorded, so that it runs without that release's code too (`tests/previous_release.py`).
"""

import pytest
from django.db import connection

from tests.previous_release import recorded

PREVIOUS = recorded()
_COLUMNS = """
SELECT column_name, is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES'
FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s
"""


@pytest.mark.parametrize("table", sorted(PREVIOUS["tables"]))
def test_its_inserts_fit(db, table):
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS, [table])
        fills_itself = dict(cursor.fetchall())
    known = set(PREVIOUS["tables"][table])
    assert known <= fills_itself.keys()
    assert all(fills_itself[column] for column in fills_itself.keys() - known)


@pytest.mark.parametrize("name", sorted(PREVIOUS["statements"]))
def test_its_statements_run(db, name):
    with connection.cursor() as cursor:
        cursor.execute(PREVIOUS["statements"][name], ["[]"])
