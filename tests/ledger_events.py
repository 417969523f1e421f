"""Ledger events as the settling script appends them, valid unless a test says otherwise."""

import uuid
from typing import Any

from django.conf import settings
from redis import Redis

from usage.core.event import Closing, ExchangeStatus, Opening, encode_closing, encode_opening
from usage.core.tokens import TokenUsage

# 2026-03-01 12:30:00 UTC, in the middle of an hour.
NOON_MS = 1_772_368_200_000


def an_opening(**fields: Any) -> Opening:
    """Return what is known of an exchange at admission."""
    defaults: dict[str, Any] = {
        "exchange_id": uuid.uuid4().hex,
        "apikey_id": 12,
        "team_id": None,
        "model_requested": "claude-haiku-4-5",
        "streamed": True,
        "admitted_at_ms": NOON_MS,
        "upstream": "default",
        "client_address": "192.0.2.7",
        "client_agent": "claude-cli/2.1.330 (external, sdk-cli)",
        "session_id": "31a427e8-2d40-4463-a888-d1203e9076a3",
        "agent_id": "",
        "parent_agent_id": "",
        "input_tokens_estimate": 40,
        "cost_nanousd_estimate": 40_000,
    }
    return Opening(**(defaults | fields))


def a_closing(**fields: Any) -> Closing:
    """Return how an exchange ended: completed, 100 in and 20 out, unless told otherwise."""
    defaults: dict[str, Any] = {
        "status": ExchangeStatus.COMPLETED,
        "http_status": 200,
        "error_type": "",
        "model_answered": "claude-haiku-4-5",
        "upstream_request_id": "req_011CS",
        "usage": TokenUsage(input_tokens=100, output_tokens=20),
        "charged_tokens": 120,
        "cost_nanousd": 200_000,
        "estimated": False,
        "first_byte_ms": 350,
        "total_ms": 1_200,
    }
    return Closing(**(defaults | fields))


def append_event(
    valkey: "Redis",
    opening: Opening,
    closing: Closing | None = None,
    *,
    shard: int = 0,
    charged_at_ms: int = NOON_MS,
    anchors: str = "",
) -> str:
    """Append the event of one settlement, or of an abandonment without progress."""
    return append_fields(
        valkey,
        {
            "x": opening.exchange_id,
            "t": charged_at_ms,
            "o": encode_opening(opening),
            "c": encode_closing(closing) if closing else b"",
            "k": f"k{opening.apikey_id}.0",
            "w": anchors,
        },
        shard=shard,
    )


def append_fields(valkey: "Redis", fields: dict[str, Any], *, shard: int = 0) -> str:
    """Append an event of any fields at all, and return its id in the stream."""
    assert shard < settings.SHARDS
    return valkey.xadd(f"{{s{shard:02d}}}:events", fields).decode()
