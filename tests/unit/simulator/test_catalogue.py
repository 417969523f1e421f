import pytest

from simulator.catalogue import MODELS, BadPage, Catalogue

IDS = [model.model_id for model in MODELS]


def ids(page):
    return [model["id"] for model in page["data"]]


def test_an_alias_answers_under_its_dated_id():
    model = Catalogue().find("claude-haiku-4-5")
    assert model is not None
    assert model.model_id == "claude-haiku-4-5-20251001"


def test_an_unknown_model_is_not_found():
    assert Catalogue().find("gpt-9") is None


def test_a_flag_can_add_a_model():
    assert Catalogue(("claude-next",)).find("claude-next") is not None


@pytest.mark.parametrize(
    ("query", "expected", "has_more"),
    [
        pytest.param({}, IDS, False, id="all"),
        pytest.param({"limit": ["2"]}, IDS[:2], True, id="first page"),
        pytest.param({"limit": ["2"], "after_id": [IDS[1]]}, IDS[2:4], True, id="next page"),
        pytest.param({"limit": ["1"], "before_id": [IDS[2]]}, IDS[1:2], True, id="page before"),
        pytest.param({"lifecycle[]": ["retired"]}, [], False, id="none is retired"),
    ],
)
def test_pages(query, expected, has_more):
    page = Catalogue().page(query)
    assert (ids(page), page["has_more"]) == (expected, has_more)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "9" * 5000])
def test_a_bad_limit_is_refused(limit):
    with pytest.raises(BadPage):
        Catalogue().page({"limit": [limit]})
