"""Synthetic ledger events: as the settling script appends them, without an exchange behind them."""

import uuid
from collections.abc import Iterable, Iterator
from itertools import islice

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
from usage.ledger import events_key

APPENDED_AT_ONCE = 1_000
_CLOSING = Closing(
    status=ExchangeStatus.COMPLETED,
    http_status=200,
    error_type="",
    model_answered="claude-haiku-4-5-20251001",
    upstream="default",
    upstream_request_id="req_011CS",
    attempts=(Attempt("default", "answered", 340),),
    cache=CacheOutcome.MISS,
    cache_source="",
    usage=TokenUsage(input_tokens=1200, output_tokens=300, cache_read_input_tokens=9000),
    charged_tokens=2_400,
    cost_nanousd=3_600_000,
    saved_tokens=0,
    saved_nanousd=0,
    estimated=False,
    first_byte_ms=350,
    total_ms=4_200,
)


def event(apikey_id: int, charged_at_ms: int) -> dict[str, object]:
    """Return the fields of one settled exchange of a key."""
    # Time first, as the gateway makes them: the ledger is sorted by it.
    exchange_id = f"{charged_at_ms - _CLOSING.total_ms:012x}{uuid.uuid4().hex[12:]}"
    opening = Opening(
        exchange_id=exchange_id,
        apikey_id=apikey_id,
        team_id=None,
        model_requested="claude-haiku-4-5",
        streamed=True,
        admitted_at_ms=charged_at_ms - _CLOSING.total_ms,
        client_address="192.0.2.7",
        client_agent="claude-cli/2.1.330 (external, sdk-cli)",
        session_id="31a427e8-2d40-4463-a888-d1203e9076a3",
        agent_id="",
        parent_agent_id="",
        input_tokens_estimate=2_500,
        cost_nanousd_estimate=2_500_000,
    )
    return {
        "x": exchange_id,
        "t": charged_at_ms,
        "o": encode_opening(opening),
        "c": encode_closing(_CLOSING),
        "k": f"k{apikey_id}.0",
        "w": "",
    }


def append(client: "Redis", events: Iterable[dict[str, object]]) -> None:
    """Append `events`, over all shards in turn."""
    left: Iterator[dict[str, object]] = iter(events)
    number = 0
    while batch := list(islice(left, APPENDED_AT_ONCE)):
        pipeline = client.pipeline(transaction=False)
        for fields in batch:
            pipeline.xadd(events_key(number % settings.SHARDS), fields)
            number += 1
        pipeline.execute()
