"""Ledger events as the settling script appends them, valid unless a test says otherwise."""

import uuid
from typing import Any

from django.conf import settings
from redis import Redis

from usage.core.event import (
    Attempt,
    CacheOutcome,
    Closing,
    ExchangeStatus,
    Opening,
    encode_closing,
    encode_opening,
)
from usage.core.tokens import TokenUsage

# 2026-03-01 12:30:00 UTC, in the middle of an hour.
NOON_MS = 1_772_368_200_000

# Recorded from the release before the response cache.
_OLD_OPENING = (
    b'{"exchange_id":"%s","apikey_id":12,"team_id":null,"model_requested":"claude-haiku-4-5",'
    b'"streamed":true,"admitted_at_ms":1772368200000,"upstream":"default",'
    b'"client_address":"192.0.2.7","client_agent":"claude-cli/2.1.330 (external, sdk-cli)",'
    b'"session_id":"31a427e8-2d40-4463-a888-d1203e9076a3","agent_id":"","parent_agent_id":"",'
    b'"input_tokens_estimate":40,"cost_nanousd_estimate":40000}'
)
_OLD_CLOSINGS = {
    "never_reported": b"",
    "settled": (
        b'{"status":"completed","http_status":200,"error_type":"",'
        b'"model_answered":"claude-haiku-4-5","upstream_request_id":"req_011CS",'
        b'"usage":{"input_tokens":100,"output_tokens":20,"cache_creation_input_tokens":0,'
        b'"cache_creation_1h_input_tokens":0,"cache_read_input_tokens":0,'
        b'"web_search_requests":0,"inference_geo":""},"charged_tokens":120,"cost_nanousd":200000,'
        b'"estimated":false,"first_byte_ms":350,"total_ms":1200}'
    ),
}


def old_event(how: str) -> dict[str, Any]:
    """Return an event of the release before the response cache: settled or never_reported."""
    exchange_id = uuid.uuid4().hex
    return {
        "x": exchange_id,
        "t": NOON_MS,
        "o": _OLD_OPENING % exchange_id.encode(),
        "c": _OLD_CLOSINGS[how],
        "k": "k12.0",
        "w": "",
    }


def an_opening(**fields: Any) -> Opening:
    """Return what is known of an exchange at admission."""
    defaults: dict[str, Any] = {
        "exchange_id": uuid.uuid4().hex,
        "apikey_id": 12,
        "team_id": None,
        "model_requested": "claude-haiku-4-5",
        "streamed": True,
        "admitted_at_ms": NOON_MS,
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
        "upstream": "default",
        "upstream_request_id": "req_011CS",
        "attempts": (Attempt("default", "answered", 340),),
        "cache": CacheOutcome.MISS,
        "cache_source": "",
        "usage": TokenUsage(input_tokens=100, output_tokens=20),
        "charged_tokens": 120,
        "cost_nanousd": 200_000,
        "saved_tokens": 0,
        "saved_nanousd": 0,
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
