"""Which upstream account an exchange is sent to. Pure: standings come in, an account comes out.

Rules. Of the accounts that serve the model, those that may be used just now come before those that
rest, a better priority (a smaller number) before a worse one. Inside such a group the affinity of
the exchange decides, by weighted rendezvous hashing: each account draws a number from the affinity
and its own id, and the highest wins. So the same conversation goes to the same account, where
Anthropic's prompt cache has its beginning; and an account that comes or goes moves its own share of
conversations and no other.

Source: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005.
"""

import enum
import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from proxy.core.account import Account

# So much of each part of a prompt tells conversations apart; hashing it takes microseconds, which
# all of a 32 MB body would not. Who shares so long a beginning shares its cache entries too.
PART_CHARS_MAX = 4096
BLOCKS_MAX = 64
# Claude Code writes a block that differs at each call before its system prompt.
_ROLLING = "x-anthropic-billing-header"


class Standing(enum.IntEnum):
    """How an account stands for one model, best first."""

    READY = 0
    RESTING = 1  # it failed: only when no other is left
    CLOSED = 2  # upstream said when to come back, or the account is of no use: not at all


def choose(
    accounts: Iterable[Account],
    model: str,
    affinity: bytes,
    standing: Callable[[Account], Standing],
    passed_over: Collection[int] = (),
) -> Account | None:
    """Return the account for an exchange, `None` when none is left.

    `passed_over` are ids of accounts that were tried already or are at a limit of their own.
    """
    best: list[Account] = []
    rank: tuple[Standing, int] | None = None
    for account in accounts:
        if account.id in passed_over or not account.serves(model):
            continue
        stands = standing(account)
        if stands is Standing.CLOSED:
            continue
        mine = (stands, account.priority)
        if rank is None or mine < rank:
            best, rank = [account], mine
        elif mine == rank:
            best.append(account)
    if len(best) < 2:
        return best[0] if best else None
    return max(best, key=lambda account: (draw(account, affinity), -account.id))


def draw(account: Account, affinity: bytes) -> float:
    """Return the number that `account` draws for `affinity`; the highest of a group wins.

    An account wins in proportion to its weight; one of weight 0 wins against no other.
    """
    digest = hashlib.blake2b(b"%d " % account.id + affinity, digest_size=8).digest()
    # 52 bits and a half, so that the fraction is never 0 and never 1.
    fraction = ((int.from_bytes(digest) >> 12) + 0.5) / 2**52
    return -account.weight / math.log(fraction)


def affinity(scope: str, session_id: bytes, prefix: bytes) -> bytes:
    """Return what all calls of one conversation of one key have in common.

    The session's id where the client sends one, else the prompt's stable beginning (`prefix`).
    """
    return scope.encode() + b" " + (session_id or prefix)


def stable_prefix(fields: Mapping[str, Any]) -> bytes:
    """Return a digest of what stays the same while a conversation grows: the tools' names, the
    system prompt and the first user message, each as far as `PART_CHARS_MAX`.

    `fields` is a parsed body of any shape; what is not as expected counts for nothing.
    """
    seen = hashlib.blake2b(digest_size=16)
    for tool in _blocks(fields.get("tools")):
        seen.update(_bytes(tool.get("name")))
    _add_texts(seen, fields.get("system"))
    messages = _blocks(fields.get("messages"))
    first = next((message for message in messages if message.get("role") == "user"), {})
    _add_texts(seen, first.get("content"))
    return seen.digest()


def _add_texts(seen: "hashlib.blake2b", content: Any) -> None:
    seen.update(b"\0")
    if isinstance(content, str):
        seen.update(_bytes(content))
        return
    left = PART_CHARS_MAX
    for block in _blocks(content):
        text = block.get("text")
        if isinstance(text, str) and not text.startswith(_ROLLING):
            seen.update(_bytes(text[:left]))
            left -= len(text)
            if left <= 0:
                return


def _blocks(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        return []
    return [block for block in value[:BLOCKS_MAX] if isinstance(block, dict)]


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        return b""
    return text[:PART_CHARS_MAX].encode("utf-8", "surrogatepass")
