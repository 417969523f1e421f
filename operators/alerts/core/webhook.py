"""A webhook call as bytes: its signature, and when it is tried again. Knows no clock and no net.

The receiver recomputes `v1` from the `t` that came and the body as it came, compares in constant
time, and refuses a `t` that is older than a few minutes; so a call that was overheard cannot be
sent again later.
"""

import datetime as dt
import hashlib
import hmac

SIGNATURE_HEADER = "X-ClaudCode-Signature"
# 1, 3, 9, 27 … minutes: eight attempts over 18 hours, and up to a fifth more each.
ATTEMPTS_MAX = 8
_FIRST_S = 60.0
_FACTOR = 3
_JITTER = 0.2


def signature(secret: str, sent_at_s: int, body: bytes) -> str:
    """Return the value of the header for `body`, sent at that second."""
    signed = f"{sent_at_s}.".encode() + body
    return f"t={sent_at_s},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def retry_after(attempts: int, dice: float) -> dt.timedelta | None:
    """Return how long to wait after that many failures, `None` to give up.

    `dice`, in [0, 1), keeps those that failed together from coming back together.
    """
    if attempts >= ATTEMPTS_MAX:
        return None
    return dt.timedelta(seconds=_FIRST_S * _FACTOR ** (attempts - 1) * (1 + _JITTER * dice))
