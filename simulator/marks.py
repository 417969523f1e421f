"""Marks in a prompt, `[[sim:name=value key=value ...]]`, and the script they make. Knows no HTTP.

`find` reads marks out of text, `Counters.spend` drops those whose `times=n` is used up, and `apply`
turns the rest into a `Script`, which says everything that a prompt may choose.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.errors import STATUSES, MarkMistaken

# A prompt that needs more is a mistake, and each costs a search.
MARKS_MAX = 32
# Longest text of one mark; bounds the search for its end.
MARK_CHARS_MAX = 8192
# Mark texts with a running `times=n`; the least recently used are forgotten first.
COUNTERS_MAX = 10_000
# A stall without `seconds` outlasts the patience of every client.
STALL_S = 3600.0

_OPENING = "[[sim:"
_MARK = re.compile(r"""\[\[sim:((?:"(?:\\.|[^"\\])*"|'[^']*'|[^\]"']|\](?!\]))*)\]\]""", re.DOTALL)
_WORD = re.compile(r"""([A-Za-z0-9_-]+)(?:=("(?:\\.|[^"\\])*"|'[^']*'|[^\s"']*))?(?=\s|$)""")


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark: its name, the value after the name, its other words, and how it was written."""

    name: str
    value: str | None
    words: dict[str, str]
    text: str

    def number(self, key: str | None = None, *, default: float | None = None) -> float:
        """Return the mark's own value, or that of its word `key`, as a number >= 0."""
        raw = self.value if key is None else self.words.get(key)
        if raw is None and default is not None:
            return default
        try:
            number = float(raw or "")
        except ValueError:
            raise MarkMistaken(f"{self.text}: {key or self.name} needs a number") from None
        if not 0 <= number < 1e12:
            raise MarkMistaken(f"{self.text}: {key or self.name} is out of range")
        return number


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error to answer with. `raw` replaces Anthropic's body by one that is not JSON."""

    status: int
    kind: str = ""
    message: str = ""
    should_retry: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """How to answer. Counts are of events or tokens; `None` means that it does not happen."""

    tokens: int | None = None
    thinking_tokens: int | None = None
    say: str | None = None
    echo: str | None = None
    tool: str | None = None
    tool_input: str | None = None
    tool_count: int = 1
    refusal: bool = False
    web_searches: int = 0
    message_deltas: int = 1
    tokens_per_event: int = 1
    gzip: bool = False
    write_bytes: int = 0
    first_byte_s: float = 0.0
    slow_s: float = 0.0
    tokens_per_s: float = 0.0
    failure: Failure | None = None
    retry_after: str | None = None
    retry_after_ms: str | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    stall_s: float = 0.0
    error_after: int | None = None
    error_type: str = "overloaded_error"
    error_message: str = ""


@dataclass(slots=True)
class Counters:
    """How often each mark text with `times=n` has been used, in bounded memory."""

    used: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def spend(self, marks: Iterable[Mark]) -> list[Mark]:
        """Return the marks that still apply, and count each of them once."""
        return [mark for mark in marks if "times" not in mark.words or self._spend(mark)]

    def _spend(self, mark: Mark) -> bool:
        used = self.used.get(mark.text, 0)
        if used >= mark.number("times"):
            return False
        self.used[mark.text] = used + 1
        self.used.move_to_end(mark.text)
        if len(self.used) > COUNTERS_MAX:
            self.used.popitem(last=False)
        return True


def find(text: str) -> list[Mark]:
    """Return the marks in `text`, in order. An opening that never closes is plain text."""
    marks: list[Mark] = []
    start = text.find(_OPENING)
    while start >= 0 and len(marks) < MARKS_MAX:
        found = _MARK.match(text, start, start + MARK_CHARS_MAX)
        if found:
            marks.append(read(found[1].strip(), found[0]))
        start = text.find(_OPENING, found.end() if found else start + len(_OPENING))
    return marks


def without(text: str) -> str:
    """Return `text` without its marks."""
    return _MARK.sub("", text[:MARK_CHARS_MAX]).strip()


def read(content: str, text: str) -> Mark:
    """Return the mark written as `content`, for example `status=529 times=2`."""
    words: dict[str, str | None] = {}
    position = 0
    while position < len(content):
        word = _WORD.match(content, position)
        if word is None:
            raise MarkMistaken(f"cannot read {text}")
        words.setdefault(word[1], _unquoted(word[2]))
        position = word.end()
        position += len(content[position:]) - len(content[position:].lstrip())
    if not words:
        raise MarkMistaken(f"{text} is empty")
    name, value = next(iter(words.items()))
    rest = {key: "" if value is None else value for key, value in words.items() if key != name}
    return Mark(name, value, rest, text)


def apply(marks: Iterable[Mark], script: Script) -> Script:
    """Return `script` as changed by each of `marks`."""
    for mark in marks:
        change = _CHANGES.get(mark.name)
        if change is None:
            raise MarkMistaken(f"no such mark: {mark.name}. Known: {', '.join(sorted(_CHANGES))}")
        script = replace(script, **change(mark))
    return script


def _unquoted(raw: str | None) -> str | None:
    if raw and raw[0] == raw[-1] == "'" and len(raw) > 1:
        return raw[1:-1]
    if raw and raw[0] == raw[-1] == '"' and len(raw) > 1:
        return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], raw[1:-1])
    return raw


def _status(mark: Mark) -> dict[str, Any]:
    status = int(mark.number())
    if not 400 <= status <= 599:
        raise MarkMistaken(f"{mark.text}: a status is from 400 to 599")
    words = mark.words
    failure = Failure(
        status,
        words.get("type", ""),
        words.get("message", ""),
        words.get("should-retry", ""),
        words.get("raw", ""),
    )
    change: dict[str, Any] = {"failure": failure}
    if "retry-after" in words:
        change["retry_after"] = words["retry-after"]
    return change


def _error(mark: Mark) -> dict[str, Any]:
    kind = mark.words.get("type", "overloaded_error")
    if kind not in STATUSES:
        raise MarkMistaken(f"{mark.text}: type is one of {', '.join(STATUSES)}")
    return {
        "error_after": int(mark.number("after", default=1)),
        "error_type": kind,
        "error_message": mark.words.get("message", ""),
    }


def _stall(mark: Mark) -> dict[str, Any]:
    return {
        "stall_after": int(mark.number("after", default=1)),
        "stall_s": mark.number("seconds", default=STALL_S),
    }


def _echo(mark: Mark) -> dict[str, Any]:
    asked = mark.value or next(iter(mark.words), "")
    if asked not in ("headers", "body-sha256", "request"):
        raise MarkMistaken(f"{mark.text}: echo headers, body-sha256 or request")
    return {"echo": asked}


def _tool(mark: Mark) -> dict[str, Any]:
    return {
        "tool": mark.value or "",
        "tool_input": mark.words.get("input"),
        "tool_count": min(20, max(1, int(mark.number("count", default=1)))),
    }


_CHANGES: dict[str, Callable[[Mark], dict[str, Any]]] = {
    "tokens": lambda mark: {"tokens": int(mark.number())},
    "say": lambda mark: {"say": mark.value or ""},
    "thinking": lambda mark: {"thinking_tokens": 24 if mark.value is None else int(mark.number())},
    "tool": _tool,
    "refusal": lambda _: {"refusal": True},
    "echo": _echo,
    "web-search": lambda mark: {
        "web_searches": 1 if mark.value is None else min(20, int(mark.number()))
    },
    "deltas": lambda mark: {"message_deltas": min(100, max(1, int(mark.number())))},
    "chunk": lambda mark: {"tokens_per_event": max(1, int(mark.number()))},
    "gzip": lambda _: {"gzip": True},
    "split": lambda mark: {"write_bytes": max(1, int(mark.number()))},
    "rate": lambda mark: {"tokens_per_s": mark.number()},
    "first-byte-ms": lambda mark: {"first_byte_s": mark.number() / 1000},
    "slow": lambda mark: {"slow_s": mark.number("seconds", default=1)},
    "status": _status,
    "retry-after": lambda mark: {"retry_after": mark.value},
    "retry-after-ms": lambda mark: {"retry_after_ms": mark.value},
    "cut": lambda mark: {"cut_after": int(mark.number("after", default=1))},
    "stall": _stall,
    "error": _error,
}
