"""The pages: all of the contract is in them, and no link leads nowhere."""

import re

import pytest

from claudcode import env
from portal import library
from portal.library import pages

TEXT = "\n".join(page.text for page in pages())
PLAIN = re.sub(r"[`*\s]+", " ", TEXT)
CONTRACT = (env.ROOT / "docs/contract/claudcode-documentation.txt").read_text()
# Of each section of the contract what a reader must find here.
FACTS = [
    "Everything you need to integrate Claude models through the ClaudCode gateway.",
    "Maximum intelligence, complex reasoning",
    "Your API key is unique to you. Never share it publicly or commit it to version control.",
    "Just change the base URL.",
    "Write a haiku about coding",
    "AI-powered web search with domain filtering",
    "pull clean content from any URL (articles, docs, pages)",
    "crawl an entire site and return structured data",
    "discover all URLs on a domain for targeted extraction",
    "total tokens (input + output)",
    "5-hour rolling window",
    "as the window rolls forward",
    "Requests per minute (RPM)",
    "Both are independently configurable",
    "Implement exponential backoff with jitter",
    "Respect the Retry-After header",
    "Use streaming to keep connections efficient",
    "Cache repeated prompts on your end to avoid unnecessary calls",
    "Check your request body",
    "Verify your API key",
    "Key doesn't have access to this model",
    "Wait and retry with backoff",
    "Retry after a moment",
    "Anthropic API is temporarily down",
    "Gateway is under maintenance",
    "Token budget exceeded. Resets in 2h 15m.",
    "Each request's prompt is hashed",
    "If a matching hash exists in the cache, the cached response is returned",
    "X-Tokens-Saved: 1250",
    "Add the header X-No-Cache: true to bypass caching for a specific request",
]


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_of_the_contract_is_told(fact):
    said = PLAIN + " ".join(words for _family, words in _good_for())
    assert fact in said


def _good_for():
    from portal.live import _GOOD_FOR

    return _GOOD_FOR


def test_every_code_and_header_of_the_contract_is_told():
    codes = re.findall(r"^\s*(\d{3})[A-Z]", CONTRACT, re.MULTILINE)
    headers = re.findall(r"^\s*(X-[A-Za-z-]+|Retry-After):", CONTRACT, re.MULTILINE)
    assert len(codes) == 7
    assert [code for code in codes if f"| {code} |" not in TEXT] == []
    assert [header for header in headers if header not in TEXT] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.slug)
def test_every_link_leads_somewhere(page):
    served = {other.path for other in pages()}
    served |= {"/llms.txt", "/llms-full.txt", "/openapi.json", "/openapi.yaml", "/status", "/try"}
    links = re.findall(r"\]\((/[^)#]*)", page.text)
    assert [link for link in links if link not in served] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.slug)
def test_a_page_begins_with_its_title_and_says_what_it_is_about(page):
    assert page.rendered.headings[0].level == 1
    assert len(page.summary) > 20


def test_every_section_can_be_found():
    index = library.search_index()
    assert {entry["path"] for entry in index} >= {page.path for page in pages()}
    assert any(entry["title"] == "Checking your budget" for entry in index)
    assert not [entry for entry in index if "[[" in entry["text"]]
