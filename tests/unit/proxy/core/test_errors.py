import json

import pytest

from proxy.core import errors
from proxy.core.errors import GatewayError, duration, error_body, error_event

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]
KINDS = [kind for kind in KINDS if issubclass(kind, GatewayError) and kind is not GatewayError]


def test_the_tree_is_the_one_in_its_docstring():
    drawn = {
        (words[1], int(words[2]), words[3])
        for words in (line.replace("│", "").split() for line in (errors.__doc__ or "").splitlines())
        if len(words) > 3 and words[0] in ("├──", "└──")
    }
    assert {(kind.__name__, kind.status, kind.wire_type) for kind in KINDS} == drawn


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        pytest.param(errors.BadRequest("no"), {}, id="400"),
        pytest.param(errors.Unauthorized("no"), {b"x-should-retry": b"false"}, id="401"),
        pytest.param(errors.Forbidden("no"), {b"x-should-retry": b"false"}, id="403"),
        pytest.param(errors.WrongMethod("no", allow="GET"), {b"allow": b"GET"}, id="405"),
        pytest.param(errors.BodyTooLarge("no"), {b"connection": b"close"}, id="413"),
        pytest.param(
            errors.RateLimited("no", retry_after_s=60), {b"retry-after": b"60"}, id="429, a minute"
        ),
        pytest.param(
            errors.RateLimited("no", retry_after_s=61),
            {b"retry-after": b"61", b"x-should-retry": b"false"},
            id="429, longer",
        ),
        pytest.param(errors.UpstreamFailed("no"), {}, id="502"),
        pytest.param(
            errors.Unavailable("no", retry_after_s=2), {b"retry-after": b"2"}, id="503, soon"
        ),
        pytest.param(
            errors.Overloaded("no", retry_after_s=0), {b"retry-after": b"0"}, id="529, at once"
        ),
    ],
)
def test_an_error_brings_its_headers(error, headers):
    assert dict(error.headers()) == headers


def test_a_body_is_anthropics_shape_with_ours_inside():
    assert json.loads(error_body("api_error", "Oh “no”.", "req_1")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "Oh “no”."},
        "request_id": "req_1",
    }


def test_an_event_has_its_name_and_one_line_of_data():
    event = error_event("api_error", "two\nlines", "req_1").decode()
    name, data, *rest = event.split("\n")
    assert (name, rest) == ("event: error", ["", ""])
    assert json.loads(data.removeprefix("data: "))["error"]["message"] == "two\nlines"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (45, "45s"),
        (59, "59s"),
        (60, "1m"),
        (61, "2m"),
        (720, "12m"),
        (3541, "1h"),
        (3600, "1h"),
        (8100, "2h 15m"),
        (18_000, "5h"),
        (86_340, "23h 59m"),
        (86_400, "1d"),
        (86_401, "1d 1h"),
        (273_600, "3d 4h"),
        (30 * 86_400, "30d"),
    ],
)
def test_durations_are_rounded_up_to_two_words(seconds, text):
    assert duration(seconds) == text
