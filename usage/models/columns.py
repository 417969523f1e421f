"""Columns that tables of use have in common."""

import datetime as dt
from typing import Any

from django.db import models

# Longer text from clients or upstream is cut: an index entry must stay below 2,704 bytes.
TEXT_CHARS_MAX = 200
# An event of another time than ours is malformed, and Python has no year 10,000.
EARLIEST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)

TOKEN_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "cache_read_input_tokens",
)
CHARGES = (*TOKEN_COUNTS, "web_search_requests", "charged_tokens", "cost_nanousd")
SAVINGS = ("saved_tokens", "saved_nanousd")
AMOUNTS = (*CHARGES, *SAVINGS)


def text_field() -> "models.CharField[str, str]":
    """Return a column for text from clients or upstream."""
    return models.CharField(max_length=TEXT_CHARS_MAX, blank=True)


def ledger_key(to: type[models.Model], *, null: bool = False) -> "models.ForeignKey[Any, Any]":
    """Return a column that points at `to` without a constraint of the database."""
    return models.ForeignKey(
        to, models.PROTECT, db_constraint=False, db_index=False, related_name="+", null=null
    )
