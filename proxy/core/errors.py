"""Everything the gateway itself answers instead of a message, as one tree.

    GatewayError
    ├── BadRequest            400 invalid_request_error
    ├── Unauthorized          401 authentication_error      never retried
    ├── Forbidden             403 permission_error          never retried
    ├── NotFound              404 not_found_error
    ├── WrongMethod           405 invalid_request_error     Allow
    ├── BodyTooSlow           408 timeout_error
    ├── BodyTooLarge          413 request_too_large         closes the connection
    ├── RateLimited           429 rate_limit_error          Retry-After
    │   └── NeverAdmitted     429 rate_limit_error          never retried
    ├── Fault                 500 api_error
    ├── UpstreamFailed        502 api_error
    ├── Unavailable           503 api_error                 Retry-After
    └── Overloaded            529 overloaded_error          Retry-After

Source of statuses, types and `x-should-retry`: wire.md, "Errors".
"""

from typing import ClassVar

import orjson

# SDKs sleep for as long as Retry-After says; beyond a minute the caller should hear of it instead.
RETRY_WAIT_S_MAX = 60


class GatewayError(Exception):
    """An answer of the gateway's own. `message` is one English sentence for the developer."""

    status: ClassVar[int] = 500
    wire_type: ClassVar[str] = "api_error"
    retry_useless: ClassVar[bool] = False
    closes: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after_s: int | None = None, allow: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.allow = allow

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that belong to this error, besides those of every answer."""
        found: list[tuple[bytes, bytes]] = []
        if self.retry_after_s is not None:
            found.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.retry_useless or (self.retry_after_s or 0) > RETRY_WAIT_S_MAX:
            found.append((b"x-should-retry", b"false"))
        if self.allow:
            found.append((b"allow", self.allow.encode()))
        if self.closes:
            found.append((b"connection", b"close"))
        return found


class BadRequest(GatewayError):
    """The body or a parameter is wrong; the message says which."""

    status, wire_type = 400, "invalid_request_error"


class Unauthorized(GatewayError):
    """No key, or none that may call. Claude Code would retry a bare 401 in silence for minutes."""

    status, wire_type, retry_useless = 401, "authentication_error", True


class Forbidden(GatewayError):
    """The key has no access to this model."""

    status, wire_type, retry_useless = 403, "permission_error", True


class NotFound(GatewayError):
    """No such path or model."""

    status, wire_type = 404, "not_found_error"


class WrongMethod(GatewayError):
    """The path exists, the method does not; `allow` names those that do."""

    status, wire_type = 405, "invalid_request_error"


class BodyTooSlow(GatewayError):
    """The body did not arrive in time. Nothing was admitted, nothing was sent upstream."""

    status, wire_type, closes = 408, "timeout_error", True


class BodyTooLarge(GatewayError):
    """The body is over the limit; the rest of it is not read."""

    status, wire_type, closes = 413, "request_too_large", True


class RateLimited(GatewayError):
    """A request limit, a concurrency limit or a budget said no."""

    status, wire_type = 429, "rate_limit_error"


class NeverAdmitted(RateLimited):
    """The same, for a request that no wait will let in: it wants more than the limit itself."""

    retry_useless = True


class Fault(GatewayError):
    """A bug or a broken part of ours; what it was stays in the log."""

    status, wire_type = 500, "api_error"


class UpstreamFailed(GatewayError):
    """Upstream could not be reached, broke off, or refused the gateway's own credential."""

    status, wire_type = 502, "api_error"


class Unavailable(GatewayError):
    """Maintenance, or a store that limits depend on is down."""

    status, wire_type = 503, "api_error"


class Overloaded(GatewayError):
    """Every upstream is overloaded or rate limited."""

    status, wire_type = 529, "overloaded_error"


def error_body(wire_type: str, message: str, request_id: str) -> bytes:
    """Return the JSON of an error: Anthropic's shape, with ours inside it."""
    return orjson.dumps(
        {
            "type": "error",
            "error": {"type": wire_type, "message": message},
            "request_id": request_id,
        }
    )


def error_event(wire_type: str, message: str, request_id: str) -> bytes:
    """Return the error as a server-sent event, for when the status is spent.

    Always with the `event:` line: SDKs ignore an error that has only data.
    """
    return b"event: error\ndata: " + error_body(wire_type, message, request_id) + b"\n\n"


def duration(seconds: int) -> str:
    """Return a wait in words: `45s`, `12m`, `2h 15m`, `3d 4h`; rounded up to the smaller unit."""
    if seconds < 60:
        return f"{seconds}s"
    minutes = -(-seconds // 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes}m" if minutes else f"{hours}h"
    days, hours = divmod(hours + (1 if minutes else 0), 24)
    return f"{days}d {hours}h" if hours else f"{days}d"
