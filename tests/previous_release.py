"""The release before this one, and what its code asks of the schema.

`python -m tests.previous_release` records it in `previous_release.json`, out of that commit. After
a release: name its commit here, and record again.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COMMIT = "b0c4691e6866460f23f87696023471357f13e962"
RECORD = Path(__file__).with_suffix(".json")
ROOT = Path(__file__).parents[1]

# Run by the code of that commit. Nothing here asks a database.
_PRINT = """
import json, django
django.setup()
from django.apps import apps
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from usage.statements import RECORD
ours = ("keys", "usage", "proxy", "operators", "alerts", "webtools")
models = [m for m in apps.get_models() if m._meta.app_label in ours and m._meta.managed]
migrations = MigrationLoader(None).disk_migrations
print(json.dumps({
    "tables": {
        m._meta.db_table: {f.column: f.db_type(connection) for f in m._meta.concrete_fields}
        for m in models
    },
    "migrations": sorted(".".join(name) for name in migrations if name[0] in ours),
    "statements": {"usage.statements.RECORD": RECORD},
}, indent=1, sort_keys=True))
"""


def in_history() -> bool:
    """Return whether this clone has the commit; a shallow one may not."""
    asked = ["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True).returncode == 0


def recorded() -> dict[str, Any]:
    """Return what it knows of columns and their types, its migrations, and statements of its."""
    found: dict[str, Any] = json.loads(RECORD.read_text())
    return found


def record() -> None:
    """Write `previous_release.json`."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "claudcode.settings",
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "CLAUDCODE_SECRET_KEY": "x" * 60,
        }
        printed = subprocess.run(
            [sys.executable, "-c", _PRINT],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    RECORD.write_text(printed.stdout)


if __name__ == "__main__":
    record()
