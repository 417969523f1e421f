"""What can go wrong between a program and its gateway.

GatewayError              the gateway answered, but not with what was asked for
├── KeyRefused            401 or 403: the key is wrong, dead, or may not use web tools
├── GatewayUnreachable    nobody answered at this address, or not in time
└── ToolFailed            the tool ran and failed; another try may help
"""

from typing import Any


class GatewayError(Exception):
    """The gateway did not do what it was asked; the text says why. `status` is of HTTP, if any."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class KeyRefused(GatewayError):
    """The gateway knows no such key, or the key may not do this."""


class GatewayUnreachable(GatewayError):
    """Nobody answered, or not in time."""


class ToolFailed(GatewayError):
    """The tool ran and failed."""


def refusal(status: int, body: Any) -> GatewayError:
    """Return the error that an answer of this status tells; `body` is its JSON, if it was any."""
    message = _message(body) or f"The gateway answered {status}."
    if status in (401, 403):
        return KeyRefused(message, status)
    if status == 404:
        return GatewayError(f"There are no web tools at this gateway ({message})", status)
    return GatewayError(message, status)


def unreachable(address: str, error: BaseException) -> GatewayUnreachable:
    """Return the error for when nobody at `address` answers."""
    return GatewayUnreachable(f"{address} did not answer: {error or type(error).__name__}")


def _message(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""
