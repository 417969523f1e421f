import datetime as dt
import uuid

import pytest

from usage.core.export import csv_cell, json_line

ID = uuid.UUID("0190f3c2a1b24c3d8e4f5a6b7c8d9e0f")
AT = dt.datetime(2026, 3, 1, 12, 30, 0, 250_000, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        pytest.param("claude-cli/2.1.330", "claude-cli/2.1.330", id="text"),
        pytest.param("", "", id="no text"),
        pytest.param(None, "", id="nothing"),
        pytest.param(0, "0", id="zero"),
        pytest.param(1_234_567, "1234567", id="a number"),
        pytest.param(True, "true", id="true"),
        pytest.param(False, "false", id="false"),
        pytest.param(ID, "0190f3c2a1b24c3d8e4f5a6b7c8d9e0f", id="an id"),
        pytest.param(AT, "2026-03-01T12:30:00.250000Z", id="a time"),
        pytest.param({"k1.0:tok:60:a": 7}, '{"k1.0:tok:60:a":7}', id="anchors"),
    ],
)
def test_every_value_has_a_cell(value, cell):
    assert csv_cell(value) == cell


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_a_spreadsheet_would_run_is_disarmed(first):
    assert csv_cell(f"{first}cmd|' /C calc'!A0") == f"'{first}cmd|' /C calc'!A0"


def test_a_row_is_one_line_of_json():
    line = json_line(("id", "at", "agent", "team_id"), (ID, AT, 'a"\nb', None))
    assert line == (
        '{"id":"0190f3c2a1b24c3d8e4f5a6b7c8d9e0f","at":"2026-03-01T12:30:00.250000Z",'
        '"agent":"a\\"\\nb","team_id":null}'
    )
