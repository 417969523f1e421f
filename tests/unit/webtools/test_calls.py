"""What may be asked of Tavily, and what it costs."""

import pytest

from webtools.core.calls import BadArguments, Tool, credits_used, tool_call


@pytest.mark.parametrize(
    ("tool", "arguments", "credits"),
    [
        pytest.param(Tool.SEARCH, {"query": "a"}, 1, id="a search"),
        pytest.param(Tool.SEARCH, {"query": "a", "search_depth": "advanced"}, 2, id="advanced"),
        pytest.param(Tool.EXTRACT, {"urls": ["https://a.example"] * 6}, 2, id="6 pages: 2 fives"),
        pytest.param(Tool.MAP, {"url": "https://a.example", "limit": 11}, 2, id="11 pages: 2 tens"),
        pytest.param(Tool.CRAWL, {"url": "a.example"}, 15, id="50 pages: 5 to map, 10 to extract"),
    ],
)
def test_a_call_is_bounded_in_credits(tool, arguments, credits):
    assert tool_call(tool, arguments).credits_max == credits


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        pytest.param(Tool.SEARCH, {}, "search needs query", id="no query"),
        pytest.param(Tool.SEARCH, {"query": "a" * 401}, "400 characters", id="a long query"),
        pytest.param(Tool.SEARCH, {"query": 7}, "must be text", id="not text"),
        pytest.param(Tool.SEARCH, {"query": "a", "max_results": 21}, "0 to 20", id="many results"),
        pytest.param(Tool.SEARCH, {"query": "a", "max_results": True}, "0 to 20", id="a boolean"),
        pytest.param(Tool.SEARCH, {"query": "a", "topic": "cats"}, "one of: general", id="topic"),
        pytest.param(Tool.EXTRACT, {"urls": []}, "1 to 20", id="no addresses"),
        pytest.param(Tool.EXTRACT, {"urls": ["file:///etc/passwd"]}, "http://", id="a file"),
        pytest.param(Tool.EXTRACT, {"urls": ["https://a.example"] * 21}, "1 to 20", id="many"),
        pytest.param(Tool.CRAWL, {"url": "https://"}, "http://", id="no host"),
        pytest.param(Tool.CRAWL, {"url": "http://[::1"}, "http://", id="half a host"),
        pytest.param(Tool.CRAWL, {"url": "a.example", "max_depth": 6}, "1 to 5", id="deep"),
        pytest.param(Tool.MAP, {"url": "a.example", "limit": 501}, "1 to 500", id="large"),
        pytest.param(Tool.MAP, {"url": "a.example", "select_paths": "/a"}, "a list", id="no list"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_words(tool, arguments, words):
    with pytest.raises(BadArguments, match=words):
        tool_call(tool, arguments)


def test_fields_that_are_not_known_pass_and_keys_do_not():
    body = tool_call(Tool.SEARCH, {"query": "a", "new": 1, "topic": None, "api_key": "tvly"}).body
    assert body == {"query": "a", "new": 1}


def test_one_address_is_a_list_of_one():
    assert tool_call(Tool.EXTRACT, {"urls": "https://a.example"}).body["urls"] == [
        "https://a.example"
    ]


@pytest.mark.parametrize(
    ("answer", "credits"),
    [
        pytest.param({"usage": {"credits": 3}}, 3, id="as Tavily says"),
        pytest.param({"usage": {"credits": 0.4}}, 1, id="rounded up"),
        pytest.param({"results": ["a"] * 11}, 2, id="worked out"),
        pytest.param({"usage": {"credits": -1}, "results": []}, 0, id="nonsense is not believed"),
    ],
)
def test_what_a_call_cost(answer, credits):
    assert credits_used(tool_call(Tool.MAP, {"url": "a.example"}), answer) == credits
