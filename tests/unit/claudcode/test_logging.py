"""A log line is JSON, carries what the call gave it, and holds no key."""

import json
import logging
import sys

import pytest

from claudcode.logging import JsonFormatter


def a_record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("proxy", logging.INFO, "file.py", 1, message, args, None)
    vars(record).update(extra)
    return record


def test_a_line_is_json_with_the_extra_fields():
    line = json.loads(JsonFormatter().format(a_record("hello %s", "you", request_id="req_1")))
    assert line["message"] == "hello you"
    assert line["request_id"] == "req_1"


def test_a_line_stays_one_line():
    assert "\n" not in JsonFormatter().format(a_record("one\ntwo"))


def test_keys_are_blacked_out_wherever_they_are():
    line = JsonFormatter().format(a_record("key %s", "sk-cc-abcdEFGH1234", other="sk-ant-api03-xy"))
    assert "sk-cc-abcd..." in line
    assert "EFGH1234" not in line
    assert "api03-xy" not in line


@pytest.mark.parametrize("mark", ["sk-cc", "sk-ant", "cc-op", "tvly"])
def test_every_kind_of_secret_is(mark):
    assert "EFGH1234" not in JsonFormatter().format(a_record(f"{mark}-abcdEFGH1234"))


def test_a_traceback_is_a_field():
    record = a_record("failed")
    try:
        raise ValueError("sk-cc-abcdEFGH1234")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = json.loads(JsonFormatter().format(record))
    assert "ValueError: sk-cc-abcd..." in line["exception"]
