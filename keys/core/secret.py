"""The text form of an API key: `sk-cc-`, 32 random characters, 6 characters of checksum.
A token of an operator is the same behind another mark, `cc-op-`.

The checksum lets a gateway refuse a mistyped or invented key without any look-up. It is no
secret and proves nothing: only the digest, looked up in the store, says that a key exists.
"""

import hashlib
import zlib
from dataclasses import dataclass

MARK = "sk-cc-"
OPERATOR_MARK = "cc-op-"  # As long as MARK: all lengths below hold for both.
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# 32 characters of base 62 are 190 bits: a plain SHA-256 at rest needs neither salt nor stretching.
RANDOM_LENGTH = 32
# 62**6 is just above 2**32, so six characters hold a CRC-32.
CHECKSUM_LENGTH = 6
SECRET_LENGTH = len(MARK) + RANDOM_LENGTH + CHECKSUM_LENGTH
# Enough to tell keys apart in a list, far too little to guess the rest.
PREFIX_LENGTH = len(MARK) + 6


@dataclass(frozen=True, slots=True)
class Secret:
    """A new key: `text` is shown once, the other three are stored."""

    text: str
    prefix: str
    last_four: str
    digest: str


def compose(random_text: str, *, mark: str = MARK) -> Secret:
    """Build the key around `random_text`, 32 characters of `ALPHABET` drawn by the caller.

    Raises `ValueError` when the text has another length or other characters.
    """
    if len(random_text) != RANDOM_LENGTH or not set(random_text) <= set(ALPHABET):
        raise ValueError(f"need {RANDOM_LENGTH} characters of the alphabet")
    text = mark + random_text + _checksum(random_text)
    return Secret(text, text[:PREFIX_LENGTH], text[-4:], digest(text))


def well_formed(text: str, *, mark: str = MARK) -> bool:
    """Return whether `text` has the shape and the checksum of a key."""
    if len(text) != SECRET_LENGTH or not text.startswith(mark):
        return False
    random_text, checksum = text[len(MARK) : -CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    # Of ASCII, alphanumeric is what ALPHABET has.
    return random_text.isascii() and random_text.isalnum() and _checksum(random_text) == checksum


def digest(text: str) -> str:
    """Return the SHA-256 of the key, 64 hexadecimal characters: what the store knows it by."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(random_text: str) -> str:
    value = zlib.crc32(random_text.encode())
    letters = []
    for _ in range(CHECKSUM_LENGTH):
        value, letter = divmod(value, len(ALPHABET))
        letters.append(ALPHABET[letter])
    return "".join(reversed(letters))
