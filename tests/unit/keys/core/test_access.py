from ipaddress import ip_address

import pytest

from keys.core.access import (
    KeyStatus,
    Refusal,
    may_match,
    parse_network,
    refuse_key,
    refuse_model,
)
from tests.policies import a_catalogue, a_policy

NOW_MS = 1_800_000_000_000
OFFICE = parse_network("10.1.0.0/16")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({}, KeyStatus.ACTIVE, id="a plain key"),
        pytest.param({"disabled": True}, KeyStatus.DISABLED, id="disabled"),
        pytest.param({"expires_at_ms": NOW_MS + 1}, KeyStatus.ACTIVE, id="expires in a moment"),
        pytest.param({"expires_at_ms": NOW_MS}, KeyStatus.EXPIRED, id="expires now"),
        pytest.param(
            {"expires_at_ms": NOW_MS, "disabled": True}, KeyStatus.EXPIRED, id="expired, disabled"
        ),
        pytest.param(
            {"revoked": True, "disabled": True, "expires_at_ms": 0},
            KeyStatus.REVOKED,
            id="revoked beats all",
        ),
    ],
)
def test_status(changes, status):
    assert a_policy(**changes).status(NOW_MS) is status


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        pytest.param({}, None, id="a live key"),
        pytest.param({"revoked": True}, Refusal.REVOKED, id="revoked"),
        pytest.param({"disabled": True}, Refusal.DISABLED, id="disabled"),
        pytest.param({"expires_at_ms": NOW_MS}, Refusal.EXPIRED, id="expired"),
    ],
)
def test_a_key_that_is_not_active_is_refused(changes, refusal):
    assert refuse_key(a_policy(**changes), ip_address("203.0.113.9"), NOW_MS) is refusal


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        pytest.param(ip_address("10.1.255.255"), None, id="inside"),
        pytest.param(ip_address("10.2.0.0"), Refusal.ADDRESS, id="outside"),
        pytest.param(ip_address("::ffff:10.1.0.7"), None, id="inside, seen through IPv6"),
        pytest.param(ip_address("::ffff:10.2.0.7"), Refusal.ADDRESS, id="outside, through IPv6"),
        pytest.param(ip_address("2001:db8::1"), Refusal.ADDRESS, id="another family"),
        pytest.param(None, Refusal.ADDRESS, id="unknown"),
    ],
)
def test_a_key_with_networks_is_refused_elsewhere(address, refusal):
    assert refuse_key(a_policy(networks=(OFFICE,)), address, NOW_MS) is refusal


def test_an_unknown_address_will_do_for_a_key_without_networks():
    assert refuse_key(a_policy(), None, NOW_MS) is None


@pytest.mark.parametrize(
    ("models", "model", "refusal"),
    [
        pytest.param((), "claude-opus-4-6", None, id="no list allows the catalogue"),
        pytest.param((), "claude-haiku-4-5-20251001", None, id="a snapshot is in the catalogue"),
        pytest.param((), "gpt-5", Refusal.MODEL_UNKNOWN, id="not in the catalogue"),
        pytest.param((), "claude-haiku-4-5-1999", Refusal.MODEL_UNKNOWN, id="not a date"),
        pytest.param(("*",), "gpt-5", Refusal.MODEL_UNKNOWN, id="a star adds nothing to it"),
        pytest.param(("claude-haiku-4-5",), "claude-haiku-4-5", None, id="by its id"),
        pytest.param(("claude-haiku-4-5",), "claude-haiku-4-5-20251001", None, id="its snapshots"),
        pytest.param(
            ("claude-haiku-4-5-20251001",),
            "claude-haiku-4-5",
            Refusal.MODEL_NOT_ALLOWED,
            id="only the snapshot",
        ),
        pytest.param(
            ("claude-haiku-*",), "claude-opus-4-6", Refusal.MODEL_NOT_ALLOWED, id="no match"
        ),
        pytest.param(("claude-opus-*", "claude-h*"), "claude-haiku-4-5", None, id="any match"),
        pytest.param(
            ("CLAUDE-*",), "claude-haiku-4-5", Refusal.MODEL_NOT_ALLOWED, id="case counts"
        ),
    ],
)
def test_models(models, model, refusal):
    assert refuse_model(a_policy(models=models), a_catalogue(), model) is refusal


def test_a_list_shows_only_what_the_key_may_use():
    allowed = a_catalogue().allowed(a_policy(models=("claude-haiku-*", "claude-opus-4-6")))
    assert [model.id for model in allowed] == ["claude-opus-4-6", "claude-haiku-4-5"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param("claude-haiku-4-5", True, id="the id"),
        pytest.param("claude-haiku-4-5-20251001", True, id="a snapshot"),
        pytest.param("claude-haiku-4-5-20*", True, id="any snapshot"),
        pytest.param("claude-*", True, id="a family"),
        pytest.param("*", True, id="all"),
        pytest.param("claude-haiku-4.5", False, id="a slip"),
        pytest.param("claude-haiku", False, id="too short without a star"),
        pytest.param("cluade-*", False, id="a slip before the star"),
    ],
)
def test_a_pattern_that_can_match_nothing_is_told(pattern, expected):
    assert may_match(pattern, "claude-haiku-4-5") is expected


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "example.com", "", "10.0.0"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the wording is the standard library's
        parse_network(text)
