"""Answers as upstream gives them, for tests: a message, or its events."""

import json

USAGE = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 2048,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 60,
    "output_tokens_details": {"thinking_tokens": 20},
    "server_tool_use": None,
    "service_tier": "standard",
    "inference_geo": "not_available",
}
THINKING = {"type": "thinking", "thinking": "They greet me. I greet back.", "signature": "EqoBCk=="}
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgB"}
CITED = {
    "type": "text",
    "text": "The grass is green.",
    "citations": [
        {
            "type": "char_location",
            "cited_text": "The grass is green. ",
            "document_index": 0,
            "document_title": "Grass",
            "start_char_index": 0,
            "end_char_index": 20,
            "file_id": None,
        }
    ],
}
TEXT = {
    "type": "text",
    "text": "Hello! It is a fine day — a very fine one — 👩‍👩‍👧 for everybody.\n\nYes.",
}
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}


def a_message(*content, **fields):
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-6",
        "content": list(content or [TEXT]),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    } | fields


def event(name, **fields):
    return f"event: {name}\ndata: {json.dumps({'type': name} | fields)}\n\n".encode()


def delta(index, kind, **fields):
    return event("content_block_delta", index=index, delta={"type": kind} | fields)


PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP = event("message_stop")


def beginning(**fields):
    usage = USAGE | {"output_tokens": 1}
    del usage["output_tokens_details"]
    empty = a_message(stop_reason=None, usage=usage) | {"content": []}
    return event("message_start", message=empty | fields)


def block(index, start, *deltas):
    return b"".join(
        [
            event("content_block_start", index=index, content_block=start),
            *(delta(index, **fields) for fields in deltas),
            event("content_block_stop", index=index),
        ]
    )


def ending(stop_reason="end_turn", **fields):
    usage = {"output_tokens": 60, "output_tokens_details": {"thinking_tokens": 20}}
    end = {"stop_reason": stop_reason, "stop_sequence": None}
    return event("message_delta", delta=end | fields, usage=usage)


def text_block(index=0):
    return block(
        index,
        {"type": "text", "text": ""},
        {"kind": "text_delta", "text": TEXT["text"][:9]},
        {"kind": "text_delta", "text": TEXT["text"][9:]},
    )


def thinking_block(index=0):
    return block(
        index,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"kind": "thinking_delta", "thinking": THINKING["thinking"][:5]},
        {"kind": "thinking_delta", "thinking": THINKING["thinking"][5:]},
        {"kind": "signature_delta", "signature": THINKING["signature"]},
    )


def cited_block(index=0):
    return block(
        index,
        {"type": "text", "text": "", "citations": []},
        {"kind": "citations_delta", "citation": CITED["citations"][0]},
        {"kind": "text_delta", "text": CITED["text"]},
    )
