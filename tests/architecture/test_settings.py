"""Settings: the docs name every one, and one module alone reads the environment."""

import re

import pytest
from django.conf import settings

from claudcode import env

OURS = ("claudcode", "operators", "keys", "usage", "proxy", "webtools")
READERS = [
    path
    for package in OURS
    for path in sorted((env.ROOT / package).rglob("*.py"))
    if path != env.ROOT / "claudcode" / "env.py"
]


def test_the_docs_hold_the_table_of_all_settings():
    assert settings.SHARDS  # They are registered as the settings are read.
    documented = (env.ROOT / "docs" / "settings.md").read_text()
    assert env.table() in documented, "Put the output of `manage.py settings_table` there."


@pytest.mark.parametrize("path", READERS, ids=lambda path: str(path.relative_to(env.ROOT)))
def test_nothing_else_reads_the_environment(path):
    assert not re.search(r"\bos\.(environ|getenv)\b", path.read_text())


def test_the_example_names_settings_that_exist():
    assert settings.SHARDS
    named = re.findall(r"^#?([A-Z_]+)=", (env.ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(named) <= set(env.REGISTRY)
