"""Anthropic's errors: statuses, types and bodies. Knows no requests.

Refused           answer this request with an error
└── MarkMistaken  a mark in the prompt cannot be understood (400)
"""

import orjson

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STATUSES = {kind: status for status, kind in reversed(TYPES.items())}
MESSAGES = {
    "invalid_request_error": "Invalid request",
    "authentication_error": "invalid x-api-key",
    "billing_error": "Your credit balance is too low to access the Anthropic API. "
    "Please go to Plans & Billing to upgrade or purchase credits.",
    "permission_error": "Your API key does not have permission to use the specified resource.",
    "not_found_error": "Not found",
    "conflict_error": "Conflict",
    "request_too_large": "Request exceeds the maximum size",
    "rate_limit_error": "This request would exceed your organization's rate limit. "
    "Please try again later.",
    "api_error": "Internal server error",
    "timeout_error": "Request timed out",
    "overloaded_error": "Overloaded",
}
RETRYABLE_BELOW_500 = frozenset({408, 409, 429})


class Refused(Exception):
    """Answer this request with an error. `raw` replaces the JSON body by one that is none."""

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        kind: str = "",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        raw: str = "",
    ) -> None:
        self.status = status
        self.kind = kind or type_of(status)
        self.message = message or MESSAGES.get(self.kind, "Error")
        self.headers = headers
        self.raw = raw
        super().__init__(self.message)


class MarkMistaken(Refused):
    """A mark in the prompt cannot be understood."""

    def __init__(self, message: str) -> None:
        super().__init__(400, f"simulator: {message}")


def type_of(status: int) -> str:
    """Return Anthropic's error type for a status."""
    return TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def is_retryable(status: int) -> bool:
    """Return what Anthropic's `x-should-retry` would say."""
    return status >= 500 or status in RETRYABLE_BELOW_500


def body(kind: str, message: str, request_id: str) -> bytes:
    """Return the JSON of an error answer."""
    return orjson.dumps(
        {
            "type": "error",
            "error": {"type": kind, "message": message or MESSAGES.get(kind, "Error")},
            "request_id": request_id,
        }
    )
