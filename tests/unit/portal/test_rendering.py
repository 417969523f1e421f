"""Markdown to HTML: anchors, tabs, what must not get through."""

import pytest

from portal.library import Page, Reader, _rendered, as_html, as_markdown
from portal.rendering import render, slug


@pytest.mark.parametrize(
    ("title", "anchor"),
    [("Checking your budget", "checking-your-budget"), ("MCP: web & tools", "mcp-web-tools")],
)
def test_an_anchor_is_the_title_in_small_letters(title, anchor):
    assert slug(title) == anchor


def test_every_heading_has_an_anchor_of_its_own():
    rendered = render("# One\n\n## Same\n\na\n\n## Same\n\nb\n")
    assert [heading.anchor for heading in rendered.headings] == ["one", "same", "same-2"]
    assert [heading.text for heading in rendered.headings] == ["", "a", "b"]
    assert 'id="same-2"' in rendered.body
    assert 'href="#same-2"' in rendered.body


def test_neighbouring_languages_are_one_group_of_tabs():
    text = "```bash curl\na\n```\n\n```python Python\nb\n```\n\nText.\n\n```bash curl\nc\n```\n"
    body = render(text).body
    assert body.count("data-tabs") == 2
    assert body.count('class="tab"') == 3


def test_what_names_no_language_stands_alone():
    body = render("```json error\n{}\n```\n\n```bash curl\na\n```\n").body
    assert body.count('class="tab"') == 1
    assert body.index("{") < body.index("data-tabs")


def test_the_same_language_twice_is_two_groups():
    assert render("```bash curl\na\n```\n\n```bash curl\nb\n```\n").body.count("data-tabs") == 2


def test_html_in_a_page_is_text():
    assert "<script>" not in render("<script>alert(1)</script>\n").body


def a_page(text: str) -> Page:
    return Page("x", "X", "X.", text, _rendered(text))


def test_the_readers_address_and_key_are_filled_in_and_escaped():
    page = a_page('```bash curl\ncurl https://gateway.invalid "sk-cc-xxxxxxxxxxxx"\n```\n')
    body = as_html(page, {}, Reader("http://<b>", "sk-cc-<i>"))
    assert "http://&lt;b&gt;" in body
    assert "sk-cc-&lt;i&gt;" in body
    assert "<b>" not in body


@pytest.mark.parametrize("language", ["bash", "powershell", "python", "json", "typescript"])
def test_no_colouring_takes_the_address_apart(language):
    page = a_page(f"```{language} x\nirm https://gateway.invalid/setup.ps1 | iex\n```\n")
    assert "http://my.host" in as_html(page, {}, Reader("http://my.host"))


def test_a_table_takes_the_place_that_is_kept_for_it():
    page = a_page("# X\n\n[[models]]\n\nAfter.\n")
    tables = {"models": "| Model |\n|---|\n| `a` |\n"}
    assert "<code>a</code>" in as_html(page, tables, Reader("http://h"))
    assert (
        as_markdown(page, tables, Reader("http://h")) == "# X\n\n" + tables["models"] + "\nAfter.\n"
    )


def test_links_of_the_markdown_are_whole():
    page = a_page("[Status](/status) and [out](https://example.com/)\n")
    assert "](http://h/status)" in as_markdown(page, {}, Reader("http://h"))
    assert "](https://example.com/)" in as_markdown(page, {}, Reader("http://h"))
