"""Logs as JSON lines on standard error, each with its request id. Knows no secret it could print.

Any `extra={...}` of a log call becomes a field of its line; `request_id` is the one that matters.
Whatever looks like a key or token of ours, of Anthropic's or of Tavily's is blacked out, wherever
it comes from.
"""

import logging
import re
from datetime import UTC, datetime
from typing import Any

import orjson

# Attributes that every LogRecord has, and uvicorn's coloured copy; the rest came from `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
# Prefix kept, so that an operator can tell which key it was; the rest never reaches a log.
_SECRETS = re.compile(rb"((?:sk-cc|sk-ant|cc-op|tvly)-[A-Za-z0-9]{0,4})[A-Za-z0-9_-]+")


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _SECRETS.sub(rb"\1...", orjson.dumps(line, default=str)).decode()


def configuration(level: str) -> dict[str, Any]:
    """Return Django's `LOGGING`: everything of `level` and above, as JSON, to standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handlers would print every line a second time, and not as JSON.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            # Two lines a second, for ever, saying that the drain and the sweep ran.
            "celery": {"level": "WARNING"},
            # The audit trail has each sign-in and each refusal, with the account.
            "axes": {"level": "ERROR"},
            "uvicorn.error": {"level": "WARNING"},
        },
    }
