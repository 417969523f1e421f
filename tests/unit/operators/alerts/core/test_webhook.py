"""How a webhook is signed, and when it is tried again."""

import datetime as dt
import hashlib
import hmac

from operators.alerts.core.webhook import retry_after, signature


def test_the_signature_covers_the_time_and_the_body():
    expected = hmac.new(b"whsec_x", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert signature("whsec_x", 1_700_000_000, b'{"a":1}') == f"t=1700000000,v1={expected}"


def test_eight_attempts_span_most_of_a_day_and_then_it_is_given_up():
    waits = [retry_after(attempts, 0.5) for attempts in range(1, 9)]
    assert waits[-1] is None
    total = sum(waits[:-1], dt.timedelta())
    assert dt.timedelta(hours=18) < total < dt.timedelta(hours=24)


def test_those_that_failed_together_come_back_apart():
    assert retry_after(1, 0.0) == dt.timedelta(seconds=60)
    assert retry_after(1, 0.5) == dt.timedelta(seconds=66)
