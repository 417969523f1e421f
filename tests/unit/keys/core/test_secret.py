import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.core.secret import (
    ALPHABET,
    RANDOM_LENGTH,
    SECRET_LENGTH,
    _checksum,
    compose,
    digest,
    well_formed,
)

RANDOM = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


def test_a_secret_has_the_documented_mark_and_length():
    text = compose(RANDOM).text
    assert text.startswith("sk-cc-" + RANDOM)
    assert len(text) == SECRET_LENGTH == 44


def test_what_is_stored_recognises_the_secret_and_does_not_hold_it():
    secret = compose(RANDOM)
    assert secret.prefix == "sk-cc-012345"
    assert secret.text.endswith(secret.last_four)
    assert secret.digest == hashlib.sha256(secret.text.encode()).hexdigest() == digest(secret.text)


@pytest.mark.parametrize(
    "random_text",
    [
        pytest.param("0" * (RANDOM_LENGTH - 1), id="too short"),
        pytest.param("0" * (RANDOM_LENGTH + 1), id="too long"),
        pytest.param("-" + "0" * (RANDOM_LENGTH - 1), id="a character outside the alphabet"),
        pytest.param("é" + "0" * (RANDOM_LENGTH - 1), id="a letter beyond ASCII"),
    ],
)
def test_other_random_text_is_refused(random_text):
    with pytest.raises(ValueError, match="32 characters"):
        compose(random_text)


@pytest.mark.parametrize("letter", ["0", "9", "A", "Z", "a", "z"])
def test_every_composed_secret_is_well_formed(letter):
    assert well_formed(compose(letter * RANDOM_LENGTH).text)


@pytest.mark.parametrize("position", range(SECRET_LENGTH))
def test_one_mistyped_character_is_noticed(position):
    text = compose(RANDOM).text
    other = ALPHABET[(ALPHABET.find(text[position]) + 1) % len(ALPHABET)]
    assert not well_formed(text[:position] + other + text[position + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("sk-cc-xxxxxxxxxxxx", id="the documentation's placeholder"),
        pytest.param("sk-ant-" + "0" * 37, id="a key of another house"),
        pytest.param(compose(RANDOM).text[:-1], id="one character short"),
        pytest.param(compose(RANDOM).text + "0", id="one character long"),
        pytest.param(" " + compose(RANDOM).text[:-1], id="shifted by a space"),
        pytest.param("sk-cc-" + "é" * 38, id="beyond ASCII"),
        pytest.param("sk-cc-" + "\0" * 38, id="zero bytes"),
    ],
)
def test_other_text_is_malformed(text):
    assert not well_formed(text)


@given(
    st.one_of(
        st.text(max_size=50),
        st.text(min_size=38, max_size=38).map(lambda rest: "sk-cc-" + rest),
        st.binary(min_size=44, max_size=44).map(lambda raw: raw.decode("latin-1")),
        st.sampled_from(["\0", "\ud800", "\U0001f511" * 44, "sk-cc-" * 100_000]),
    )
)
def test_any_text_is_well_formed_or_not_and_always_the_same(text):
    assert well_formed(text) is well_formed(text) is False


@pytest.mark.parametrize("odd", ["-", " ", "\0", "\x7f"])
def test_a_right_checksum_makes_no_key_of_other_characters(odd):
    random_text = odd * RANDOM_LENGTH
    assert not well_formed("sk-cc-" + random_text + _checksum(random_text))


@given(st.text(alphabet=ALPHABET, min_size=RANDOM_LENGTH, max_size=RANDOM_LENGTH))
def test_whatever_is_composed_is_well_formed(random_text):
    assert well_formed(compose(random_text).text)
