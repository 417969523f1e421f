"""What is kept takes the room that it needs."""

import tracemalloc

import orjson

from keys.core.text import kept_json

TIMES = 100
VALUE = {"name": "x" * 100, "numbers": list(range(50))}


def test_the_text_is_orjsons():
    assert kept_json(VALUE) == orjson.dumps(VALUE)


def test_a_kept_text_takes_its_own_size():
    tracemalloc.start()
    try:
        kept = [kept_json(VALUE) for _time in range(TIMES)]
        taken, _most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 2 * TIMES * len(kept[0])
