"""What upstream's error means: whose fault it is, when to come back, what the client is told. Pure.

Errors about the request pass unmodified, since clients recover by their wording. Errors about the
account the gateway pays with never come back as the client's (wire.md, "What is forwarded").
"""

import enum
from email.utils import parsedate_to_datetime

import orjson

from proxy.core.errors import GatewayError, Overloaded, UpstreamFailed

# Long enough for a rate limit that names no time to pass, short enough for an SDK to obey it.
RETRY_AFTER_S = 5
# Whatever upstream says, an account is looked at again after this long.
RETRY_AFTER_S_MAX = 600
# Anthropic says that an account has run dry with a 400 that begins so. Not anywhere in the body:
# other messages quote the request.
_OUT_OF_MONEY = (
    "Your credit balance is too low",
    "You have reached your specified API usage limits",
)


class Fault(enum.Enum):
    """Whose fault an answer other than 200 is, or a lack of any answer."""

    REQUEST = "request"  # the client's own; it gets the answer as it is
    REFUSED = "refused"  # the account's credential
    SPENT = "spent"  # the account's money
    OVERLOADED = "overloaded"  # the account's rate limit, or upstream as a whole
    FAILED = "failed"  # upstream's
    UNREACHED = "unreached"  # no connection came about, so nothing was sent
    BROKEN = "broken"  # the connection ended, or fell silent, before any answer


def judge(status: int, body: bytes) -> Fault:
    """Return whose fault an answer with this status is; `body` matters for a 400 alone."""
    if status in (429, 529):
        return Fault.OVERLOADED
    if status in (401, 403):
        return Fault.REFUSED
    if status == 402 or (status == 400 and _out_of_money(body)):
        return Fault.SPENT
    return Fault.REQUEST if 400 <= status < 500 else Fault.FAILED


def translate(status: int, body: bytes, retry_after: str) -> GatewayError | None:
    """Return the error to answer instead of upstream's, `None` to pass upstream's on."""
    fault = judge(status, body)
    if fault is Fault.REQUEST:
        return None
    if fault is Fault.OVERLOADED:
        known = retry_after.isascii() and retry_after.isdigit()
        # Python would refuse to read a number of thousands of digits.
        seconds = min(RETRY_AFTER_S_MAX, int(retry_after[:9])) if known else 0
        return overloaded(seconds or RETRY_AFTER_S)
    return failed(fault, status)


def overloaded(retry_after_s: int) -> Overloaded:
    """Return the 529 for when no account can take the exchange just now."""
    return Overloaded(
        "Every upstream account is overloaded just now. Try again shortly.",
        retry_after_s=retry_after_s,
    )


def failed(fault: Fault, status: int) -> UpstreamFailed:
    """Return the 502 for the last account's `fault`; it names neither account nor credential."""
    if fault in (Fault.REFUSED, Fault.SPENT):
        return UpstreamFailed("The upstream refused the gateway's own account. Tell its operator.")
    if status >= 500:
        message = f"The upstream failed (HTTP {status}). Try again shortly."
    elif status:
        message = f"The upstream answered in an unexpected way (HTTP {status})."
    else:
        message = "The upstream could not be reached. Try again shortly."
    return UpstreamFailed(message, retry_after_s=RETRY_AFTER_S)


def retry_after_s(value: str, now_s: float) -> float | None:
    """Return the seconds that a `retry-after` asks for, at most `RETRY_AFTER_S_MAX`.

    `now_s` is the time of day, for a header that holds a date. `None` if it holds neither a number
    nor a date, or nothing that lies ahead.
    """
    value = value.strip()
    try:
        seconds = float(value) if value[:1].isdigit() else _date_s(value) - now_s
    except (ValueError, TypeError, OverflowError):
        return None
    return min(seconds, RETRY_AFTER_S_MAX) if seconds > 0 else None


def _date_s(value: str) -> float:
    return parsedate_to_datetime(value).timestamp()


def _out_of_money(body: bytes) -> bool:
    try:
        message = orjson.loads(body)["error"]["message"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return False
    return isinstance(message, str) and message.startswith(_OUT_OF_MONEY)
