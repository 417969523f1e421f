"""`python -m simulator`: the command line."""

import argparse
from collections.abc import Sequence

from simulator.app import create_app
from simulator.errors import MarkMistaken
from simulator.marks import Script, apply, read
from simulator.options import BOOKS_MAX, Options
from simulator.server import serve


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser("simulator", description="A stand-in for the Anthropic API.")
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8800, help="0 takes a free one")
    add("--seed", type=int, help="same ids and words in every run")
    add("--first-byte-ms", type=float, default=0, help="wait before an answer's first byte")
    add("--tokens-per-s", type=float, default=0, help="pace; 0 sends everything at once")
    add("--tokens", type=int, help="length of an answer")
    add("--tokens-per-event", type=int, default=1, help="tokens in one event of a stream")
    add("--mark", action="append", default=[], metavar="MARK", help='e.g. "status=529 times=2"')
    add("--credential", action="append", default=[], help="accept only this; repeatable")
    add("--model", action="append", default=[], help="add a model id; repeatable")
    add("--books-max", type=int, default=BOOKS_MAX, help="entries kept in the books")
    chosen = parser.parse_args(arguments)
    try:
        chosen.options = _options(chosen)
    except MarkMistaken as mistake:
        parser.error(str(mistake))
    return chosen


def _options(chosen: argparse.Namespace) -> Options:
    script = Script(
        tokens=chosen.tokens,
        tokens_per_event=max(1, chosen.tokens_per_event),
        tokens_per_s=chosen.tokens_per_s,
        first_byte_s=chosen.first_byte_ms / 1000,
    )
    marks = tuple(read(mark, mark) for mark in chosen.mark)
    apply(marks, script)  # A mistake in a flag is better told now than in every answer.
    return Options(
        seed=chosen.seed,
        credentials=tuple(chosen.credential),
        models=tuple(chosen.model),
        books_max=max(1, chosen.books_max),
        script=script,
        marks=marks,
    )


if __name__ == "__main__":
    command = parse()
    serve(create_app(command.options), command.host, command.port)
