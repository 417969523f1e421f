"""The pages of the documentation: read once from `pages/`, rendered once, filled in for a reader.

In the files the gateway's address is `ADDRESS`, the reader's key `KEY`; both are replaced in what
is served. `[[name]]` alone on a line stands for a table of `portal.live`.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from portal.rendering import Rendered, render

FOLDER = Path(__file__).parent / "pages"
# The order of the menu; the first is the page at `/`.
SLUGS = (
    "overview",
    "authentication",
    "sdk-setup",
    "claude-code",
    "mcp",
    "budgets-and-limits",
    "rate-limiting",
    "error-codes",
    "prompt-caching",
    "models-and-prices",
    "api-reference",
)
ADDRESS = "https://gateway.invalid"
KEY = "sk-cc-xxxxxxxxxxxx"
# What stands for them in HTML: single words, which no colouring of code takes apart.
_ADDRESS_WORD, _KEY_WORD = "GATEWAYADDRESS", "READERSKEY"
_SLOT_INSIDE = re.compile(r"\[\[[a-z-]+\]\]")
_SLOT = re.compile(r"^\[\[([a-z-]+)\]\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was written. `summary` is its first paragraph."""

    slug: str
    title: str
    summary: str
    text: str
    rendered: Rendered

    @property
    def label(self) -> str:
        """What it is called in the menu."""
        return "Overview" if self.slug == SLUGS[0] else self.title

    @property
    def path(self) -> str:
        """Where it is served."""
        return "/" if self.slug == SLUGS[0] else f"/docs/{self.slug}"

    @property
    def slots(self) -> tuple[str, ...]:
        """The tables that it has a place for."""
        return tuple(_SLOT.findall(self.text))


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom a page is filled in: the address they use, and what is known of their key."""

    base_url: str
    key: str = KEY

    def fill(self, text: str) -> str:
        """Return `text` with their address and their key."""
        for address in (ADDRESS, _ADDRESS_WORD):
            text = text.replace(address, self.base_url)
        for key in (KEY, _KEY_WORD):
            text = text.replace(key, self.key)
        return text


@cache
def pages() -> tuple[Page, ...]:
    """Return all pages in the order of the menu."""
    return tuple(_read(slug) for slug in SLUGS)


def page(slug: str) -> Page | None:
    """Return the page of that name, if there is one."""
    return next((found for found in pages() if found.slug == slug), None)


def as_html(page: Page, tables: Mapping[str, str], reader: Reader) -> str:
    """Return the page's HTML with the tables, which are Markdown, in their places."""
    body = page.rendered.body
    for name in page.slots:
        table = _rendered(tables[name], f"{name}-").body
        body = body.replace(f"<p>[[{name}]]</p>", table)
    return Reader(html.escape(reader.base_url), html.escape(reader.key)).fill(body)


def as_markdown(page: Page, tables: Mapping[str, str], reader: Reader) -> str:
    """Return the page as Markdown, links to other pages made whole."""
    filled = _SLOT.sub(lambda slot: tables[slot[1]].strip(), page.text)
    whole = re.sub(r"\]\(/(?!/)", f"]({ADDRESS}/", filled)
    return reader.fill(re.sub(r"\n{3,}", "\n\n", whole))


@cache
def search_index() -> tuple[dict[str, str], ...]:
    """Return every section of every page: where it is, what it is called and what it says.

    Its texts are still to be filled in for a reader.
    """
    return tuple(
        {
            "page": page.label,
            "title": heading.title,
            "path": page.path if heading.level == 1 else f"{page.path}#{heading.anchor}",
            "text": _SLOT_INSIDE.sub("", heading.text).strip(),
        }
        for page in pages()
        for heading in page.rendered.headings
    )


def _rendered(text: str, prefix: str = "") -> Rendered:
    return render(text.replace(ADDRESS, _ADDRESS_WORD).replace(KEY, _KEY_WORD), prefix)


def _read(slug: str) -> Page:
    text = (FOLDER / f"{slug}.md").read_text(encoding="utf-8")
    rendered = _rendered(text)
    title = rendered.headings[0]
    return Page(slug, title.title, title.text.partition(". ")[0].rstrip(".") + ".", text, rendered)
