import pytest

from keys.core.limits import Admitted, Limit, Reading, Reason, Unit
from proxy.core.headers import downstream_headers, limit_headers, upstream_headers
from tests.unit.proxy.core.verdicts import NOW_MS, a_denial, a_reading

CREDENTIAL = [(b"x-api-key", b"ours")]


def sent_up(*headers):
    return dict(upstream_headers(headers, CREDENTIAL))


def an_admission(*readings):
    return Admitted(NOW_MS, readings, (1,))


@pytest.mark.parametrize(
    "name",
    [
        *(b"x-api-key", b"authorization", b"cookie", b"host", b"content-length"),
        *(b"accept-encoding", b"connection", b"keep-alive", b"proxy-authorization", b"te"),
        *(b"transfer-encoding", b"upgrade", b"expect", b"forwarded", b"via", b"x-real-ip"),
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-claudcode-debug", b"cf-connecting-ip"),
        *(b"x-no-cache", b"x-tavily-api-key", b"traceparent", b"tracestate", b"baggage"),
    ],
)
def test_what_is_private_stays_here(name):
    assert b"theirs" not in sent_up((name, b"theirs")).values()


@pytest.mark.parametrize(
    "name",
    [
        *(b"anthropic-beta", b"anthropic-something-new", b"content-type", b"user-agent"),
        *(b"x-app", b"x-stainless-lang", b"x-claude-code-session-id", b"n" * 100),
    ],
)
def test_everything_else_goes_up(name):
    assert sent_up((name, b"theirs"))[name] == b"theirs"


def test_what_connection_names_stays_here():
    headers = sent_up((b"connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"x-app", b"cli"))
    assert (b"x-hop" in headers, b"x-app" in headers) == (False, True)


@pytest.mark.parametrize(
    ("sent", "version"),
    [((), b"2023-06-01"), (((b"anthropic-version", b"2026-10-21"),), b"2026-10-21")],
)
def test_a_version_is_always_sent(sent, version):
    assert sent_up(*sent)[b"anthropic-version"] == version


def test_ours_are_added_and_answers_come_uncompressed():
    headers = sent_up((b"accept-encoding", b"gzip"))
    assert (headers[b"x-api-key"], headers[b"accept-encoding"]) == (b"ours", b"identity")


def test_repeated_headers_stay_repeated():
    pairs = [(b"anthropic-beta", b"one"), (b"anthropic-beta", b"two")]
    assert upstream_headers(pairs, CREDENTIAL)[:2] == pairs


@pytest.mark.parametrize(
    "name",
    [
        *(b"Set-Cookie", b"retry-after", b"Request-Id", b"anthropic-organization-id", b"Server"),
        *(b"Anthropic-RateLimit-Tokens-Reset", b"CF-Ray", b"x-envoy-upstream", b"Date"),
        *(b"transfer-encoding", b"connection", b"X-RateLimit-Limit", b"X-Cache", b"x-should-retry"),
    ],
)
def test_what_describes_the_account_does_not_come_down(name):
    assert downstream_headers([(name, b"theirs")]) == []


def test_everything_else_comes_down_in_small_letters():
    headers = [(b"Content-Type", b"application/json"), (b"X-Robots-Tag", b"none")]
    assert downstream_headers(headers) == [
        (b"content-type", b"application/json"),
        (b"x-robots-tag", b"none"),
    ]


def test_limits_speak_in_two_dialects():
    requests = a_reading(Unit.REQUESTS, limit=60, used=18, frees_at_ms=NOW_MS + 1)
    tokens = a_reading(Unit.TOKENS, limit=1000, used=400, held=100, frees_at_ms=NOW_MS + 2000)
    assert limit_headers(an_admission(requests, tokens)) == [
        (b"x-ratelimit-limit", b"60"),
        (b"x-ratelimit-remaining", b"42"),
        # A millisecond into the next second: rounded up to its end.
        (b"x-ratelimit-reset", b"%d" % (NOW_MS // 1000 + 1)),
        (b"anthropic-ratelimit-requests-limit", b"60"),
        (b"anthropic-ratelimit-requests-remaining", b"42"),
        (b"anthropic-ratelimit-requests-reset", b"2027-01-15T08:00:01Z"),
        (b"anthropic-ratelimit-tokens-limit", b"1000"),
        (b"anthropic-ratelimit-tokens-remaining", b"500"),
        (b"anthropic-ratelimit-tokens-reset", b"2027-01-15T08:00:02Z"),
    ]


def test_the_first_limit_of_a_kind_speaks():
    first, second = (a_reading(Unit.TOKENS, limit=limit) for limit in (10, 20))
    headers = dict(limit_headers(an_admission(first, second)))
    assert headers[b"anthropic-ratelimit-tokens-limit"] == b"10"


def test_an_unused_limit_is_reset_already():
    headers = dict(limit_headers(an_admission(a_reading(Unit.REQUESTS, used=0))))
    assert headers[b"x-ratelimit-reset"] == b"%d" % (NOW_MS // 1000)


def test_a_denial_resets_when_it_lets_in_again():
    denied = a_denial(Reason.REQUESTS, retry_after_ms=7000, frees_at_ms=NOW_MS + 1000)
    assert dict(limit_headers(denied))[b"x-ratelimit-reset"] == b"%d" % (NOW_MS // 1000 + 7)


@pytest.mark.parametrize("verdict", [None, an_admission()])
def test_without_limits_there_is_nothing_to_say(verdict):
    assert limit_headers(verdict) == []


def test_dollars_have_no_header():
    reading = Reading(Limit("k1.0", Unit.NANOUSD, 60, 100), 0, 0, None)
    assert limit_headers(an_admission(reading)) == []
