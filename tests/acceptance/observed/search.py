"""Looks for words in everything an installation keeps: stores, logs, spans, figures, files.

A word is found as it is, in base64 at any offset, in hexadecimal digits, and in what zlib packed.
"""

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

STEM_CHARS = 8
_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('information_schema')
    AND has_table_privilege(c.oid, 'SELECT')
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A word, and where it is."""

    word: str
    place: str


class Search:
    """Searches for `words`, letters and digits alone."""

    def __init__(self, words: Iterable[str]) -> None:
        known = list(words)
        self._shapes = {shape: word for word in known for shape in _shapes(word)}
        # Most words begin alike, and where no beginning is no word is.
        self._stems = {shape for word in known for shape in _shapes(word[:STEM_CHARS])}

    def data(self, place: str, data: bytes) -> Iterator[Found]:
        """Look into bytes, and into what they unpack to."""
        for one in (data, *_unpacked(data)):
            if any(stem in one for stem in self._stems):
                for shape, word in self._shapes.items():
                    if shape in one:
                        yield Found(word, place)

    def postgres(self, url: str) -> Iterator[Found]:
        """Look into every table, partition and catalogue, and what sessions are at."""
        with psycopg.connect(url, autocommit=True) as connection:
            tables = connection.execute(_TABLES).fetchall()
            assert len(tables) > 100
            for schema, table in tables:
                name = sql.Identifier(schema, table)
                copy = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(name)
                with connection.cursor().copy(copy) as rows:
                    content = b"".join(map(bytes, rows))
                # `bytea` comes as hexadecimal digits: whatever is packed inside shows as well.
                packed = (
                    bytes.fromhex(m.decode()) for m in re.findall(rb"\\\\x([0-9a-f]+)", content)
                )
                for part in (content, *packed):
                    yield from self.data(f"postgres {schema}.{table}", part)
            active = connection.execute("SELECT query FROM pg_stat_activity").fetchall()
            yield from self.data("postgres pg_stat_activity", repr(active).encode())

    def valkey(self, client: redis.Redis) -> Iterator[Found]:
        """Look into every key of the database, its name too, and the log of slow calls."""
        for name in client.scan_iter(count=1000):
            for part in (name, *_parts(client, name)):
                yield from self.data(f"valkey {name.decode(errors='replace')}", part)
        slow = client.execute_command("SLOWLOG", "GET", 1000)
        yield from self.data("valkey slowlog", repr(slow).encode())

    def files(self, folder: Path) -> Iterator[Found]:
        """Look into every file of a folder, whatever it is."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                try:
                    content = path.read_bytes()
                except OSError:  # Gone meanwhile.
                    continue
                yield from self.data(f"file {path.relative_to(folder)}", content)


def _shapes(word: str) -> Iterator[bytes]:
    plain = word.encode()
    yield plain
    yield plain.hex().encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain)
        # Characters at either end hold bits of the neighbours too.
        yield encoded[-(-before * 8 // 6) :].rstrip(b"=")[:-1]


def _unpacked(data: bytes) -> Iterator[bytes]:
    for start in (0, 1):  # Entries of the response cache begin with their version.
        try:
            yield zlib.decompressobj().decompress(data[start:])
        except zlib.error:
            continue


def _parts(client: redis.Redis, name: bytes) -> list[bytes]:
    kind: Any = client.type(name)
    if kind == b"string":
        found: Any = [client.get(name) or b""]
    elif kind == b"hash":
        found = [part for pair in client.hgetall(name).items() for part in pair]  # type: ignore[union-attr]
    elif kind == b"list":
        found = client.lrange(name, 0, -1)
    elif kind == b"set":
        found = client.smembers(name)
    elif kind == b"zset":
        found = client.zrange(name, 0, -1)
    else:
        assert kind in (b"stream", b"none"), kind
        entries: Any = client.xrange(name) if kind == b"stream" else []
        found = [part for _, fields in entries for pair in fields.items() for part in pair]
    return [part if isinstance(part, bytes) else str(part).encode() for part in found]
