"""Markdown in, HTML out: anchors on headings, code in tabs by language, tables that fit a phone.

Knows no page. Fences that follow each other and name a language of `TABS` make one group of tabs; a
reader without JavaScript sees them under each other. What follows the language of a fence names the
sample, for the tests that run it; a fence with another name stands alone.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

TABS = ("curl", "Python", "TypeScript", "PowerShell", "Claude-Code")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading with the text that stands under it, up to the next one."""

    level: int
    anchor: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page as HTML, and its headings in order."""

    body: str
    headings: tuple[Heading, ...]


_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
_formatter = HtmlFormatter(nowrap=True)


def render(text: str, prefix: str = "") -> Rendered:
    """Return `text` as HTML. Ids of what can be copied begin with `prefix`."""
    tokens = _markdown.parse(text)
    headings = tuple(_name_headings(tokens))
    chunks: list[str] = []
    for position, group in enumerate(_groups(tokens)):
        if group[0].type == "fence":
            chunks.append(_code_group(group, f"{prefix}code-{position}"))
        else:
            chunks.append(_wrap_tables(_markdown.renderer.render(group, _markdown.options, {})))
    return Rendered("".join(chunks), headings)


def slug(title: str) -> str:
    """Return the anchor of a heading: `Checking your budget` is `checking-your-budget`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def tab_of(info: str) -> str | None:
    """Return the tab that a fence with this info string stands in, `None` for one that has none."""
    name = info.split()[-1] if info else ""
    return name if name in TABS else None


def _name_headings(tokens: Sequence[Token]) -> Iterator[Heading]:
    seen: dict[str, int] = {}
    opens = [n for n, token in enumerate(tokens) if token.type == "heading_open"]
    for number, start in enumerate(opens):
        title = _plain(tokens[start + 1])
        anchor = slug(title)
        seen[anchor] = seen.get(anchor, 0) + 1
        if seen[anchor] > 1:
            anchor = f"{anchor}-{seen[anchor]}"
        tokens[start].attrSet("id", anchor)
        _link(tokens[start + 1], anchor, title)
        end = opens[number + 1] if number + 1 < len(opens) else len(tokens)
        text = " ".join(
            _plain(token) for token in tokens[start + 2 : end] if token.type == "inline"
        )
        yield Heading(int(tokens[start].tag[1]), anchor, title, text)


def _link(inline: Token, anchor: str, title: str) -> None:
    mark = Token("html_inline", "", 0)
    label = html.escape(f"Link to “{title}”", quote=True)
    mark.content = f' <a class="anchor" href="#{anchor}" aria-label="{label}">#</a>'
    assert inline.children is not None
    inline.children.append(mark)


def _plain(inline: Token) -> str:
    kept = ("text", "code_inline")
    breaks = ("softbreak", "hardbreak")
    return "".join(
        child.content if child.type in kept else " " if child.type in breaks else ""
        for child in inline.children or ()
    )


def _groups(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Cut into runs of tabbed fences, single fences, and everything between them."""
    group: list[Token] = []
    for token in tokens:
        if group and not _joins(group, token):
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _joins(group: list[Token], token: Token) -> bool:
    last = group[-1]
    if last.type != "fence" and token.type != "fence":
        return True
    if last.type != "fence" or token.type != "fence":
        return False
    taken = {tab_of(other.info) for other in group}
    return None not in taken and tab_of(token.info) not in {None, *taken}


def _code_group(fences: Sequence[Token], identifier: str) -> str:
    blocks = [_code(fence, f"{identifier}-{n}") for n, fence in enumerate(fences)]
    if tab_of(fences[0].info) is None:
        return blocks[0]
    sections = [
        f'<section class="tab" data-tab="{tab_of(fence.info)}">'
        f'<p class="tab-name">{str(tab_of(fence.info)).replace("-", " ")}</p>{block}</section>'
        for fence, block in zip(fences, blocks, strict=True)
    ]
    return f'<div class="tabs" data-tabs>{"".join(sections)}</div>\n'


def _code(fence: Token, identifier: str) -> str:
    language = fence.info.split()[0] if fence.info else "text"
    lexer = get_lexer_by_name(language, stripnl=False)
    colored = highlight(fence.content, lexer, _formatter)
    # It scrolls sideways, so the keyboard must be able to get there.
    return (
        f'<div class="sample"><pre tabindex="0"><code id="{identifier}">{colored}</code></pre>'
        f'<button type="button" class="button button-plain copy" data-copy="{identifier}">Copy'
        "</button></div>\n"
    )


def _wrap_tables(body: str) -> str:
    body = body.replace("<table>", '<div class="table-wrap" tabindex="0"><table class="table">')
    body = body.replace("<blockquote>", '<blockquote class="note">')
    return body.replace("</table>", "</table></div>")
