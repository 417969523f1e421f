"""Answers as tools give them on: bounded, and said to be nobody's word."""

from webtools.core.calls import Tool, tool_call
from webtools.core.results import UNTRUSTED, as_text, bounded
from webtools.core.stored import Stored, decode, digest, encode


def test_long_pages_share_the_room():
    pages = [{"url": f"https://a.example/{n}", "raw_content": "x" * 9000} for n in range(5)]
    found = bounded({"results": pages}, 5000)
    assert found["truncated"]
    assert len(found["results"]) == 5
    assert sum(len(page["raw_content"]) for page in found["results"]) <= 5000


def test_what_fits_is_whole():
    page = {"url": "https://a.example", "title": "A", "content": "short", "score": 0.5}
    assert bounded({"results": [page]}, 5000) == {"results": [page], "truncated": False}


def test_many_addresses_are_cut_at_the_bound():
    found = bounded({"results": ["https://a.example/" + "x" * 100] * 50}, 1000)
    assert found["truncated"]
    assert len("".join(found["results"])) <= 1000


def test_the_text_begins_with_a_warning():
    text = as_text(bounded({"results": []}, 1000))
    assert text.startswith(UNTRUSTED)
    assert "Nothing was found." in text


def test_equal_arguments_have_one_name_in_the_cache():
    one = tool_call(Tool.SEARCH, {"query": "a", "max_results": 3})
    other = tool_call(Tool.SEARCH, {"max_results": 3, "query": "a", "topic": None})
    assert digest(one) == digest(other)
    assert digest(one) != digest(tool_call(Tool.SEARCH, {"query": "a"}))


def test_what_is_kept_comes_back():
    kept = Stored("req_1", 2, 16_000_000, {"results": ["a"]})
    assert decode(encode(kept) or b"") == kept


def test_nonsense_in_the_cache_is_a_miss():
    assert decode(b"nonsense") is None


def test_a_huge_answer_is_not_kept():
    assert encode(Stored("req_1", 2, 1, {"results": ["x" * 2_000_000]})) is None
