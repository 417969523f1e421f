"""`python -m bench.affinity`: what prompt caches are worth, by how accounts are chosen.

Agents' conversations, each growing by a turn at a time, go to a pool of accounts. Which account,
the gateway's own code decides (`proxy.core.selection`), or chance. What each account's prompt cache
then reads and writes is the simulator's model of Anthropic's (`simulator.prompt_cache`): a
simulation, with a clock of its own, so the figures are the same on every machine.
"""

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proxy.core.account import Account
from proxy.core.selection import Standing, affinity, choose, stable_prefix
from simulator.prompt import segments, total
from simulator.prompt_cache import PromptCache

SESSIONS, TURNS = 60, 40
# Agents of one organisation share tools and system prompt, about as long as Claude Code's.
TOOLS, TOOL_WORDS, SYSTEM_WORDS = 20, 150, 3000
TURN_WORDS = (50, 1500)
# Between two turns an agent's tool runs, or somebody thinks. One in 40 pauses outlives the cache.
PAUSE_S, LONG_PAUSE_S, LONG_PAUSES = (3, 90), (301, 1200), 1 / 40
# Smallest cacheable prefix, as of Sonnet's.
TOKENS_MIN = 1024
# What Anthropic charges for a token read from the cache or written to it, of a plain one's price.
READ_PRICE, WRITE_PRICE = 0.1, 1.25

Body = dict[str, object]
Choose = Callable[[int, Body], int]


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all input tokens, those read from a cache and written to one."""

    read: float
    written: float

    @property
    def price(self) -> float:
        """What the input costs, of its price without any cache."""
        return READ_PRICE * self.read + WRITE_PRICE * self.written + (1 - self.read - self.written)


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a session, `at_s` on the clock of the simulation."""

    at_s: float
    session: int
    turn: int


def requests(chance: random.Random) -> list[Request]:
    """Return the requests of all sessions, in order of time."""
    found = []
    for session in range(SESSIONS):
        at_s = chance.uniform(0, 600)
        for turn in range(TURNS):
            found.append(Request(at_s, session, turn))
            long = chance.random() < LONG_PAUSES
            at_s += chance.uniform(*(LONG_PAUSE_S if long else PAUSE_S))
    return sorted(found, key=lambda request: request.at_s)


class Conversations:
    """The bodies of all sessions: the same words each time they are asked for."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self._tools = [
            {"name": f"tool_{number}", "description": _words(chance, TOOL_WORDS)}
            for number in range(TOOLS)
        ]
        self._system = _words(chance, SYSTEM_WORDS)
        self._turns = [list(_turns(chance)) for _session in range(SESSIONS)]

    def body(self, request: Request) -> Body:
        """Return a body with breakpoints where Claude Code sets them: system, last message."""
        said = self._turns[request.session][: 2 * request.turn + 1]
        messages = [_message(number, text) for number, text in enumerate(said)]
        last = messages[-1]
        messages[-1] = _message(len(said) - 1, said[-1], cached=True)
        assert last["role"] == "user"
        return {"tools": self._tools, "system": [_text(self._system, True)], "messages": messages}


def measure(stream: list[Request], conversations: Conversations, choose_account: Choose) -> Shares:
    """Return what the caches of the accounts do when each request goes where it is told to."""
    caches: dict[int, PromptCache] = {}
    tokens = read = written = 0
    for request in stream:
        body = conversations.body(request)
        prompt = segments(body)
        cache = caches.setdefault(choose_account(request.session, body), PromptCache())
        use = cache.use(owner="", segments=prompt, tokens_min=TOKENS_MIN, now_s=request.at_s)
        tokens += total(prompt)
        read += use.read
        written += use.written_5m
    return Shares(read / tokens, written / tokens)


def main() -> None:
    """Measure every way to choose, and print a table."""
    parser = argparse.ArgumentParser("bench.affinity", description=__doc__)
    parser.add_argument("--accounts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    stream, conversations = requests(chance), Conversations(options.seed)
    pool = [_account(number) for number in range(options.accounts)]
    ways: dict[str, Choose] = {
        "one account": lambda _session, _body: 0,
        "affinity by session id": lambda session, _body: _chosen(pool, b"%d" % session, b""),
        "affinity by the prompt's beginning": lambda _session, body: _chosen(
            pool, b"", stable_prefix(body)
        ),
        "at random": lambda _session, _body: chance.randrange(options.accounts),
    }
    print(f"{SESSIONS} sessions of {TURNS} turns, {options.accounts} accounts\n")
    print("| choice | read from a cache | written to one | price of the input |")
    print("|---|---|---|---|")
    for name, way in ways.items():
        shares = measure(stream, conversations, way)
        print(f"| {name} | {shares.read:.1%} | {shares.written:.1%} | {shares.price:.1%} |")


def _chosen(pool: list[Account], session_id: bytes, prefix: bytes) -> int:
    found = choose(pool, "", affinity("k1.0", session_id, prefix), lambda _account: Standing.READY)
    assert found is not None
    return found.id


def _account(number: int) -> Account:
    return Account(number, f"account {number}", "", (), 10, 1, None, None, (), "")


def _turns(chance: random.Random) -> Iterator[str]:
    for _turn in range(2 * TURNS):
        yield _words(chance, chance.randint(*TURN_WORDS))


def _words(chance: random.Random, count: int) -> str:
    return " ".join(
        chance.choices(("read", "the", "file", "and", "change", "its", "test"), k=count)
    )


def _message(number: int, text: str, *, cached: bool = False) -> dict[str, object]:
    role = "assistant" if number % 2 else "user"
    return {"role": role, "content": [_text(text, cached)]}


def _text(text: str, cached: bool) -> dict[str, object]:
    block: dict[str, object] = {"type": "text", "text": text}
    return block | {"cache_control": {"type": "ephemeral"}} if cached else block


if __name__ == "__main__":
    main()
