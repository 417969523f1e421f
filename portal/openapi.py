"""The description of `/v1` for machines: `openapi.yaml` with the reader's address in it."""

from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml

from portal.library import Reader

FILE = Path(__file__).parent / "openapi.yaml"


def as_yaml(reader: Reader) -> str:
    """Return the description as it was written."""
    return reader.fill(_text())


def as_json(reader: Reader) -> bytes:
    """Return the same as JSON."""
    return reader.fill(_json()).encode()


def description() -> Any:
    """Return the description, the address still a placeholder."""
    return orjson.loads(_json())


@cache
def _text() -> str:
    return FILE.read_text(encoding="utf-8")


@cache
def _json() -> str:
    return orjson.dumps(yaml.safe_load(_text()), option=orjson.OPT_INDENT_2).decode()
