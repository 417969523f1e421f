import pytest

from usage.core.tokens import TokenUsage, weigh


def test_prompt_is_all_input_cached_or_not():
    usage = TokenUsage(
        input_tokens=1,
        output_tokens=100,
        cache_creation_input_tokens=20,
        cache_creation_1h_input_tokens=5,
        cache_read_input_tokens=300,
    )
    assert usage.prompt_tokens == 321


@pytest.mark.parametrize(
    ("cache_read", "percent", "charged"),
    [
        pytest.param(0, 10, 35, id="no cache reads"),
        pytest.param(1000, 10, 135, id="a cached token counts a tenth"),
        pytest.param(1, 10, 36, id="rounded up"),
        pytest.param(11, 10, 37, id="rounded up once, not for each token"),
        pytest.param(1000, 0, 35, id="weight nothing"),
        pytest.param(1000, 100, 1035, id="weight all"),
    ],
)
def test_cache_reads_weigh_less(cache_read, percent, charged):
    usage = TokenUsage(
        input_tokens=10,
        output_tokens=5,
        cache_creation_input_tokens=20,
        cache_creation_1h_input_tokens=20,
        cache_read_input_tokens=cache_read,
    )
    assert weigh(usage, percent) == charged
