import pytest

from proxy.core.errors import Overloaded, UpstreamFailed
from proxy.core.upstream_error import translate

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
    [("7", 7), ("", 5), ("soon", 5), ("-1", 5), ("1.5", 5), ("Wed, 21 Oct 2026 07:28:00 GMT", 5)],
)
def test_an_overloaded_upstream_says_when_to_come_back(status, retry_after, seconds):
    error = translate(status, b"", retry_after)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == seconds
