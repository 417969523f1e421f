import pytest

from proxy.core.errors import Overloaded, UpstreamFailed
from proxy.core.upstream_error import Fault, judge, retry_after_s, translate

CREDIT = b'{"error":{"message":"Your credit balance is too low to access the Anthropic API."}}'
SPENT = b'{"error":{"message":"You have reached your specified API usage limits."}}'


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_an_error_about_the_request_passes(status):
    assert translate(status, b'{"error":{"message":"prompt is too long"}}', "") is None


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b""), (402, b""), (403, b""), (400, CREDIT), (400, SPENT)],
)
def test_trouble_with_our_account_is_ours(status, body):
    error = translate(status, body, "")
    assert isinstance(error, UpstreamFailed)
    assert "account" in error.message


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 204, 301, 307])
def test_a_failure_of_upstreams_is_502(status):
    assert isinstance(translate(status, b"<html>", ""), UpstreamFailed)


@pytest.mark.parametrize("status", [429, 529])
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7),
        ("9" * 5000, 600),
        ("", 5),
        ("soon", 5),
        ("-1", 5),
        ("1.5", 5),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 5),
    ],
)
def test_an_overloaded_upstream_says_when_to_come_back(status, retry_after, seconds):
    error = translate(status, b"", retry_after)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, Fault.REQUEST),
        (404, Fault.REQUEST),
        (413, Fault.REQUEST),
        (422, Fault.REQUEST),
        (401, Fault.REFUSED),
        (403, Fault.REFUSED),
        (402, Fault.SPENT),
        (429, Fault.OVERLOADED),
        (529, Fault.OVERLOADED),
        (500, Fault.FAILED),
        (503, Fault.FAILED),
        (301, Fault.FAILED),
        (204, Fault.FAILED),
    ],
)
def test_a_status_says_whose_fault_it_is(status, fault):
    assert judge(status, b"{}") is fault


@pytest.mark.parametrize("body", [CREDIT, SPENT])
def test_a_400_can_say_that_the_account_is_out_of_money(body):
    assert judge(400, body) is Fault.SPENT


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"messages: Your credit balance is too low: not permitted"}}',
        b'{"error":"Your credit balance is too low"}',
        b'{"error":{"message":7}}',
        b"Your credit balance is too low",
        b"[]",
        b"",
    ],
)
def test_a_400_that_quotes_such_words_is_about_the_request(body):
    assert judge(400, body) is Fault.REQUEST


NOW_S = 1_792_569_000  # Wed, 21 Oct 2026 07:50:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 1.5 ", 1.5),
        ("86400", 600),
        ("Wed, 21 Oct 2026 07:50:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:49:00 GMT", None),
        ("Wed, 21 Oct 2027 07:50:00 GMT", 600),
        ("0", None),
        ("-1", None),
        ("soon", None),
        ("1e999", 600),
        ("nan", None),
        ("", None),
    ],
)
def test_a_wait_is_read_from_seconds_or_a_date(value, seconds):
    assert retry_after_s(value, NOW_S) == seconds
