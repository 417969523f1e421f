"""Turns a denial of the limiter into the sentence and the headers a developer gets. Pure."""

from keys.core.limits import Denied, Reading, Reason, Unit
from proxy.core.errors import NeverAdmitted, RateLimited, duration
from usage.core.price import NANOUSD_PER_USD


def rate_limited(denied: Denied) -> RateLimited:
    """Return the 429 for `denied`: what limit, what was used, when to come back."""
    wait_s = _wait_s(denied)
    kind = NeverAdmitted if denied.retry_at_ms is None else RateLimited
    return kind(f"{_what(denied)} {_when(denied, wait_s)}", retry_after_s=wait_s)


def _wait_s(denied: Denied) -> int:
    """Whole seconds, rounded up. A request that never fits waits a whole window, or a minute."""
    if denied.retry_after_ms is not None:
        return max(1, -(-denied.retry_after_ms // 1000))
    return 60 if denied.reading is None else denied.reading.limit.window_s


def _what(denied: Denied) -> str:
    owner = "team" if denied.scope.startswith("t") else "API key"
    if denied.reason is Reason.CONCURRENCY:
        return f"Too many requests in flight: this {owner} may have {denied.limit:,} at once."
    assert denied.reading is not None
    if denied.reason in (Reason.REQUESTS, Reason.COUNTS):
        per = _per(denied.reading.limit.window_s)
        kind = "requests" if denied.reason is Reason.REQUESTS else "count_tokens calls"
        return f"Rate limit exceeded: this {owner} may make {denied.limit:,} {kind} {per}."
    return "Token budget exceeded." if denied.reason is Reason.TOKENS else "USD budget exceeded."


def _when(denied: Denied, wait_s: int) -> str:
    detail = _detail(denied)
    if denied.retry_at_ms is None:
        return detail or "It allows none."
    if denied.reason in (Reason.REQUESTS, Reason.COUNTS, Reason.CONCURRENCY):
        return f"Try again in {duration(wait_s)}."
    return f"Resets in {duration(wait_s)}. {detail}".strip()


def _detail(denied: Denied) -> str:
    reading = denied.reading
    if reading is None or reading.limit.unit in (Unit.REQUESTS, Unit.COUNTS):
        return ""
    unit, window = reading.limit.unit, duration(reading.limit.window_s)
    owner = "the team" if denied.scope.startswith("t") else "this key"
    spent = f"{reading.used:,}" if unit is Unit.TOKENS else amount(reading.used, unit)
    used = f"Used {spent} of {amount(denied.limit, unit)} in {window}"
    held = f", {amount(reading.held, unit)} more held by requests in flight" if reading.held else ""
    if denied.retry_at_ms is None and reading.limit.strict and denied.limit:
        return (
            f"This request could use up to {amount(denied.wanted, unit)}, more than all that"
            f" {owner} may use in {window} ({amount(denied.limit, unit)}). Lower max_tokens."
        )
    return f"{used} by {owner}{held}."


def amount(number: int, unit: Unit) -> str:
    """Return an amount with its unit: `1,234 tokens`, `$0.0042`, `$12.40`."""
    if unit is Unit.NANOUSD:
        cents = number >= NANOUSD_PER_USD // 100
        return f"${number / NANOUSD_PER_USD:,.{2 if cents or not number else 4}f}"
    return f"{number:,} tokens"


def _per(window_s: int) -> str:
    return "a minute" if window_s == 60 else f"in {duration(window_s)}"


def resets_in(reading: Reading, now_ms: int) -> str:
    """Return when the oldest use leaves the window, in words; `0m` if nothing is used.

    When the limit is spent: when it lets the next request in.
    """
    at_ms = reading.opens_at_ms or reading.frees_at_ms
    return "0m" if at_ms is None else duration(max(0, -(-(at_ms - now_ms) // 1000)))
