import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.composer import Composer
from simulator.counting import count
from simulator.errors import MarkMistaken
from simulator.marks import Script, apply, find
from simulator.prompt_cache import CacheUse
from simulator.usage import Usage
from tests.unit.simulator.requests import TOOL, a_body, checked

COMPOSER = Composer(seed=1)
USAGE = Usage(10, CacheUse())


def composed(text="Hello", echo=None, usage=USAGE, **fields):
    request = checked(a_body(text, **fields))
    script = apply(find(text), Script())
    return COMPOSER.compose(request, script, usage, "msg_1", echo)


def text_of(answer):
    return "".join(part.complete.get("text", "") for part in answer.parts)


def test_an_answer_says_that_it_comes_from_the_simulator():
    assert text_of(composed("Hello")).startswith("This answer comes from the simulator, not from")


def test_an_answer_repeats_what_was_typed_last():
    reminder = {"type": "text", "text": "<system-reminder>…</system-reminder>"}
    request = checked(a_body([reminder, {"type": "text", "text": "Hi"}]))
    answer = COMPOSER.compose(request, Script(), USAGE, "msg_1")
    assert text_of(answer).endswith(' You wrote: "Hi"')


@pytest.mark.parametrize("tokens", [0, 1, 50, 999])
def test_an_answer_is_as_long_as_asked(tokens):
    answer = composed(f"Hi [[sim:tokens={tokens}]]")
    assert (answer.output_tokens, answer.stop_reason) == (tokens, "end_turn")
    assert count(text_of(answer)) == tokens


@given(
    st.integers(1, 120),
    st.sampled_from(["", "[[sim:thinking=30]]", "[[sim:tool count=2]]", "[[sim:tokens=200]]"]),
)
def test_output_never_exceeds_max_tokens(max_tokens, marks):
    answer = composed(f"Hi {marks}", max_tokens=max_tokens, tools=[TOOL])
    assert answer.output_tokens <= max_tokens


def test_a_cut_answer_says_max_tokens():
    answer = composed("[[sim:tokens=500]]", max_tokens=20)
    assert (answer.stop_reason, answer.output_tokens) == ("max_tokens", 20)


def test_a_stop_sequence_ends_the_answer_before_it():
    answer = composed('[[sim:say="one two three"]]', stop_sequences=["three", "two"])
    assert text_of(answer) == "one "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "two")


def test_a_tool_is_called_when_the_prompt_asks():
    answer = composed("[[sim:tool]]", tools=[TOOL])
    assert answer.stop_reason == "tool_use"
    assert answer.parts[-1].complete["input"] == {"city": "simulated"}


def test_a_tool_gets_the_input_of_its_mark():
    answer = composed("""[[sim:tool=weather input='{"city":"Oslo"}']]""", tools=[TOOL])
    assert answer.parts[-1].complete["input"] == {"city": "Oslo"}


@pytest.mark.parametrize(
    ("choice", "stop_reason"),
    [
        ({"type": "any"}, "tool_use"),
        ({"type": "tool", "name": "weather"}, "tool_use"),
        ({"type": "auto"}, "end_turn"),
    ],
)
def test_tool_choice_can_force_a_call(choice, stop_reason):
    assert composed(tools=[TOOL], tool_choice=choice).stop_reason == stop_reason


def test_without_tools_none_is_called():
    assert composed("[[sim:tool]]").stop_reason == "end_turn"


def test_thinking_comes_first_and_is_counted():
    answer = composed("[[sim:thinking=12]]")
    assert [part.complete["type"] for part in answer.parts] == ["thinking", "text"]
    assert answer.thinking_tokens == 12


def test_omitted_thinking_is_hidden_and_counted():
    thinking = {"type": "adaptive", "display": "omitted"}
    answer = composed("[[sim:thinking=12]]", thinking=thinking)
    assert answer.parts[0].complete["thinking"] == ""
    assert answer.thinking_tokens == 12


def test_a_refusal_has_no_content():
    answer = composed("[[sim:refusal]]")
    assert (answer.stop_reason, answer.output_tokens, len(answer.parts)) == ("refusal", 0, 0)


def test_a_schema_is_answered_with_json():
    output = {"format": {"type": "json_schema", "schema": TOOL["input_schema"]}}
    assert text_of(composed(output_config=output)) == '{"city":"simulated"}'


def test_the_same_seed_gives_the_same_words():
    request = checked(a_body("[[sim:tokens=300]]"))
    script = apply(find(request.text), Script())
    words = [Composer(seed).compose(request, script, USAGE, "msg_1") for seed in (5, 5, 6)]
    assert words[0] == words[1] != words[2]


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_prompts_in_any_script_are_answered(text):
    try:
        answer = composed("x" + text)
    except MarkMistaken:
        return
    assert count(text_of(answer)) == answer.output_tokens
