import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import MarkMistaken
from simulator.marks import COUNTERS_MAX, Counters, Failure, Script, apply, find, without


def a_script(text):
    return apply(find(text), Script())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[[sim:tokens=500]]", Script(tokens=500), id="length"),
        pytest.param("[[sim:rate=50]]", Script(tokens_per_s=50), id="pace"),
        pytest.param("[[sim:first-byte-ms=300]]", Script(first_byte_s=0.3), id="first byte"),
        pytest.param("[[sim:slow seconds=2]]", Script(slow_s=2), id="slow headers"),
        pytest.param("[[sim:thinking]]", Script(thinking_tokens=24), id="thinking"),
        pytest.param("[[sim:thinking=7]]", Script(thinking_tokens=7), id="thinking of a length"),
        pytest.param("[[sim:tool]]", Script(tool=""), id="any tool"),
        pytest.param(
            """[[sim:tool=ls count=2 input='{"a": [[1]]}']]""",
            Script(tool="ls", tool_count=2, tool_input='{"a": [[1]]}'),
            id="a quoted value may hold brackets",
        ),
        pytest.param("[[sim:refusal]]", Script(refusal=True), id="refusal"),
        pytest.param("[[sim:echo headers]]", Script(echo="headers"), id="echo"),
        pytest.param('[[sim:say="a \\"b\\""]]', Script(say='a "b"'), id="quotes in quotes"),
        pytest.param("[[sim:cut after=5]]", Script(cut_after=5), id="cut"),
        pytest.param(
            "[[sim:stall after=3 seconds=20]]", Script(stall_after=3, stall_s=20), id="stall"
        ),
        pytest.param(
            "[[sim:error after=4 type=api_error]]",
            Script(error_after=4, error_type="api_error"),
            id="error event",
        ),
        pytest.param(
            '[[sim:status=400 message="no good" retry-after=7]]',
            Script(failure=Failure(400, message="no good"), retry_after="7"),
            id="status",
        ),
        pytest.param(
            "[[sim:tokens=5]] and [[sim:rate=2]]", Script(tokens=5, tokens_per_s=2), id="two"
        ),
        pytest.param("plain [[sim:tokens=5] text", Script(), id="an opening that never closes"),
    ],
)
def test_marks_make_a_script(text, expected):
    assert a_script(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[[sim:nonsense]]",
        "[[sim:]]",
        "[[sim:tokens=many]]",
        "[[sim:tokens=-1]]",
        "[[sim:tokens=nan]]",
        "[[sim:status=200]]",
        "[[sim:error type=strange]]",
        "[[sim:echo everything]]",
        "[[sim:status=529 ???]]",
    ],
)
def test_a_mark_that_makes_no_sense_is_refused_not_ignored(text):
    with pytest.raises(MarkMistaken, match="simulator"):
        a_script(text)


def test_a_mark_with_times_is_used_up():
    counters = Counters()
    marks = find("[[sim:status=529 times=2]]")
    assert [len(counters.spend(marks)) for _ in range(4)] == [1, 1, 0, 0]


def test_marks_written_differently_are_counted_apart():
    counters = Counters()
    counters.spend(find("[[sim:status=529 times=1 id=a]]"))
    assert len(counters.spend(find("[[sim:status=529 times=1 id=b]]"))) == 1


def test_counters_stay_within_their_bound():
    counters = Counters()
    for number in range(COUNTERS_MAX + 5):
        counters.spend(find(f"[[sim:refusal times=1 id={number}]]"))
    assert len(counters.used) == COUNTERS_MAX


def test_the_prompt_is_quoted_without_its_marks():
    assert without("Hello [[sim:tokens=3]]there") == "Hello there"


@given(st.text(alphabet="[]sim:=\"'\\ ax1", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        found = find(text)
    except MarkMistaken:
        found = []
    assert len(found) <= text.count("[[sim:")
