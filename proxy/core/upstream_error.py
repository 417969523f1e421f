"""What upstream's error status means for the client: its own mistake, or trouble of ours. Pure.

Errors about the request pass unmodified, since clients recover by their wording. Errors about the
account the gateway pays with never come back as the client's (wire.md, "What is forwarded").
"""

from proxy.core.errors import GatewayError, Overloaded, UpstreamFailed

# Long enough for a rate limit that names no time to pass, short enough for an SDK to obey it.
RETRY_AFTER_S = 5
# Anthropic says that an account has run dry with a 400 in these words.
_OUT_OF_MONEY = (b"credit balance is too low", b"specified API usage limits")


def translate(status: int, body: bytes, retry_after: str) -> GatewayError | None:
    """Return the error to answer instead of upstream's, `None` to pass upstream's on."""
    if status in (429, 529):
        return Overloaded(
            "Every upstream account is overloaded just now. Try again shortly.",
            retry_after_s=_seconds(retry_after),
        )
    ours = status in (401, 402, 403) or (status == 400 and _out_of_money(body))
    if ours:
        return UpstreamFailed("The upstream refused the gateway's own account. Tell its operator.")
    if status >= 500:
        return UpstreamFailed(f"The upstream failed (HTTP {status}). Try again shortly.")
    if status < 400:
        return UpstreamFailed(f"The upstream answered in an unexpected way (HTTP {status}).")
    return None


def _out_of_money(body: bytes) -> bool:
    return any(words in body for words in _OUT_OF_MONEY)


def _seconds(retry_after: str) -> int:
    return int(retry_after) if retry_after.isascii() and retry_after.isdigit() else RETRY_AFTER_S
