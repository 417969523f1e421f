import datetime as dt

import orjson
import pytest

from proxy.core.listing import BadPage, ListedModel, candidates, parse_page, unsure


def a_page(*ids: str, **fields) -> bytes:
    return orjson.dumps({"data": [{"id": model_id} for model_id in ids]} | fields)


def listed(*ids: str) -> list[ListedModel]:
    return [ListedModel(model_id, model_id, None, None, None) for model_id in ids]


def ids(found) -> list[str]:
    return [candidate.model_id for candidate in found]


def test_a_page_as_anthropic_writes_it():
    entry = {
        "type": "model",
        "id": "claude-opus-5-5",
        "display_name": "Claude Opus 5.5",
        "created_at": "2026-10-01T00:00:00Z",
        "max_input_tokens": 1_000_000,
        "max_tokens": 128_000,
        "capabilities": {"thinking": {"supported": True}},
    }
    page = parse_page(orjson.dumps({"data": [entry], "has_more": True, "last_id": "x"}))
    october = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    assert page.last_id == "x"
    assert page.models == (
        ListedModel("claude-opus-5-5", "Claude Opus 5.5", october, 1_000_000, 128_000),
    )


def test_a_page_as_compatible_servers_write_it():
    page = parse_page(b'{"object":"list","data":[{"id":"claude-x","created":1}]}')
    assert page.models == (ListedModel("claude-x", "claude-x", None, None, None),)


@pytest.mark.parametrize("more", [{"has_more": False}, {}, {"has_more": "yes"}])
def test_the_last_page_has_none_after_it(more):
    assert parse_page(a_page("a", last_id="a", **more)).last_id == ""


def test_the_next_page_begins_after_the_last_model_if_nothing_else_is_said():
    assert parse_page(a_page("a", "b", has_more=True)).last_id == "b"
    assert parse_page(a_page(has_more=True)).last_id == ""


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"data":{}}', b'{"data":[1]}', b'{"data":[{"id":""}]}'],
)
def test_what_is_no_page_is_refused(body):
    with pytest.raises(BadPage):
        parse_page(body)


@pytest.mark.parametrize("value", [0, -1, 2**31, "many", True, 1.5])
def test_limits_that_make_no_sense_are_not_believed(value):
    body = orjson.dumps({"data": [{"id": "a", "max_input_tokens": value, "created_at": value}]})
    assert parse_page(body).models[0].input_tokens_max is None


@pytest.mark.parametrize(
    ("models", "aliases", "catalogue", "found"),
    [
        pytest.param(["claude-a"], [], [], ["claude-a"], id="a new one"),
        pytest.param(["claude-a"], [], ["claude-a"], [], id="one that is there"),
        pytest.param(["claude-a-20270101"], ["claude-a"], [], ["claude-a"], id="without its date"),
        pytest.param(
            ["claude-a-20270101"], [], [], ["claude-a-20270101"], id="unknown without its date"
        ),
        pytest.param(["claude-a-20270101"], [], ["claude-a"], [], id="a snapshot of what is there"),
        pytest.param(
            ["claude-a-20270101", "claude-a"], [], [], ["claude-a"], id="both forms are one"
        ),
        pytest.param(["a b", "x" * 101, "../up"], [], [], [], id="ids no catalogue takes"),
    ],
)
def test_what_could_be_added(models, aliases, catalogue, found):
    assert ids(candidates(listed(*models), aliases, catalogue)) == found


def test_limits_that_upstream_does_not_say_are_guessed():
    (guessed,) = candidates(listed("claude-a"), [], [])
    assert (guessed.context_window_tokens, guessed.output_tokens_max) == (200_000, 64_000)
    assert guessed.guessed


def test_upstream_is_asked_about_ids_that_it_does_not_list_alone():
    models = listed("claude-a-20270101", "claude-b", "claude-c-20270101", "claude-c")
    assert unsure(models, ["claude-d"]) == ["claude-a"]
    assert unsure(models, ["claude-a"]) == []
