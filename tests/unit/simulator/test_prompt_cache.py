import pytest

from simulator.prompt_cache import CacheUse, PromptCache, Segment

# 1,500 tokens that end a cacheable prefix, then 100 that do not.
DOCUMENT = Segment(1500, "document", "5m")
QUESTION = Segment(100, "question")


def use(cache, *segments, owner="a", now_s=0.0, tokens_min=1024):
    return cache.use(owner=owner, segments=segments, tokens_min=tokens_min, now_s=now_s)


def test_a_prefix_is_written_first_and_read_next():
    cache = PromptCache()
    assert use(cache, DOCUMENT, QUESTION) == CacheUse(written_5m=1500)
    assert use(cache, DOCUMENT, Segment(9, "another")) == CacheUse(read=1500)


def test_a_growing_conversation_reads_the_old_part_and_writes_the_new():
    cache = PromptCache()
    use(cache, DOCUMENT)
    grown = [Segment(1500, "document"), Segment(40, "answer"), Segment(60, "next", "5m")]
    assert use(cache, *grown) == CacheUse(read=1500, written_5m=100)


def test_lifetimes_are_counted_apart():
    segments = [Segment(2000, "tools", "1h"), Segment(500, "system", "5m"), QUESTION]
    assert use(PromptCache(), *segments) == CacheUse(written_5m=500, written_1h=2000)


@pytest.mark.parametrize(
    ("now_s", "expected"),
    [
        pytest.param(299, CacheUse(read=1500), id="just in time"),
        pytest.param(300, CacheUse(written_5m=1500), id="forgotten"),
    ],
)
def test_a_prefix_lives_five_minutes(now_s, expected):
    cache = PromptCache()
    use(cache, DOCUMENT)
    assert use(cache, DOCUMENT, now_s=now_s) == expected


def test_reading_renews_the_life_of_a_prefix():
    cache = PromptCache()
    use(cache, DOCUMENT)
    use(cache, DOCUMENT, now_s=200)
    assert use(cache, DOCUMENT, now_s=400) == CacheUse(read=1500)


def test_a_short_prompt_is_not_cached():
    cache = PromptCache()
    use(cache, DOCUMENT, tokens_min=4096)
    assert use(cache, DOCUMENT, tokens_min=4096) == CacheUse()


def test_without_a_breakpoint_nothing_is_cached():
    assert use(PromptCache(), QUESTION) == CacheUse()


def test_accounts_do_not_share_prefixes():
    cache = PromptCache()
    use(cache, DOCUMENT, owner="a")
    assert use(cache, DOCUMENT, owner="b").read == 0


@pytest.mark.parametrize(("between", "read"), [(19, 1500), (20, 0)])
def test_a_breakpoint_looks_twenty_blocks_back(between, read):
    cache = PromptCache()
    use(cache, DOCUMENT)
    blocks = [Segment(1, number) for number in range(between - 1)]
    assert use(cache, Segment(1500, "document"), *blocks, Segment(1, "end", "5m")).read == read


def test_memory_is_bounded():
    cache = PromptCache(prefixes_max=2)
    for name in ("a", "b", "c"):
        use(cache, Segment(2000, name, "5m"))
    assert use(cache, Segment(2000, "a", "5m")).read == 0
    assert use(cache, Segment(2000, "c", "5m")).read == 2000
