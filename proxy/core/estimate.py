"""How many tokens a text probably is, from its bytes alone. Knows no tokenizer and no stream.

A tokenizer cuts text where its kind changes, and then the longer pieces. So a text costs something
for every run of one kind of character (a word, a number, a row of punctuation), and something
for every character, which depends on the script: a token is five letters of English, but less
than one of Greek. In Latin script the rarer letters cost more, and words of other languages more
than English ones; how much of a text is in such a language is told by its small words.

The weights are a least-squares fit to a public tokenizer of Anthropic's. docs/limits.md says which,
and how far off this is; `tests/estimates/` measures it on texts that the fit never saw.
"""

_KINDS = {
    "l": b"abcdefghilmnoprstu",
    "r": b"jkqvwxyz",
    "u": bytes(range(ord("A"), ord("Z") + 1)),
    "d": b"0123456789",
    "n": b"\t\n\r",
    # What follows are the first bytes of characters of more than one byte.
    "m": bytes(range(0xC3, 0xCC)),  # Latin with marks
    "g": bytes(range(0xCC, 0xD0)),  # Greek
    "c": bytes(range(0xD0, 0xD5)),  # Cyrillic
    "h": bytes(range(0xD5, 0xD8)),  # Hebrew, Armenian
    "a": bytes(range(0xD8, 0xE0)),  # Arabic
    "i": b"\xe0",  # India's scripts, Thai
    "v": b"\xe1",  # Vietnamese, Georgian and others
    "j": b"\xe3",  # kana, and punctuation of China and Japan
    "z": bytes(range(0xE4, 0xEA)),  # Chinese characters
    "k": bytes(range(0xEA, 0xEE)),  # Korean
    "e": bytes(range(0xF0, 0x100)),  # emoji
}
# Blanks belong to the word they precede. Typographic signs cost nothing beside their neighbours.
_FREE = b" \xc2\xe2\xee\xef"
_LATER_BYTES = bytes(range(0x80, 0xC0))

_TOKENS_A_CHARACTER = (
    *((b"l", 0.10), (b"r", 0.34), (b"u", 0.23), (b"d", 0.13), (b"n", 0.81), (b"p", 0.20)),
    *((b"m", 1.24), (b"g", 1.30), (b"c", 0.17), (b"h", 1.08), (b"a", 0.60), (b"i", 1.36)),
    *((b"v", 1.65), (b"j", 0.78), (b"z", 1.06), (b"k", 1.33), (b"e", 2.04)),
)
# Runs of the same kind; Latin letters of any kind make words.
_TOKENS_A_RUN = (
    *((b"w", 0.55), (b"d", 0.91), (b"p", 0.76)),
    *((b"c", 2.46), (b"a", 2.38), (b"j", 0.92), (b"e", 2.21)),
)
# On top, where all small words are foreign.
_TOKENS_A_FOREIGN_LETTER = 0.07
_TOKENS_A_FOREIGN_RARE_LETTER = 0.93

_ENGLISH = frozenset(
    b"the of and to in is that a it for with as on are be you was this I at".split()
)
_FOREIGN = frozenset(
    (
        "al att até au auch auf av az að bir bu bylo być care ce che com come como cu da dans das "
        "dat de del della dem den der des det di du een egy ei ein eine el elle en er es est este "
        "et foi för ha har het hogy ikke il ile im inte ist ja jag jak je jest ktoré la las le les "
        "lo los mais med meg mit mutta na ne nem nicht nie niet non nu não och od og oli om op os "
        "para pe per più po por pour på que qui se si sich się som sono su sur são są te til till "
        "uma un una und une už van var ve von voor w wird y z za zijn zu à às är å è é în ć şi "
        "że že și"
    )
    .encode()
    .split()
)
# Small words of English for which one foreign word is not believed yet.
_DOUBT_WORDS = 2.0
# So much of a text tells its language.
LANGUAGE_BYTES = 1024
# A letter with a mark speaks for another language too, as half a small word does.
_MARKED_LETTER_WORDS = 0.5


def _kind_of_each_byte() -> bytes:
    table = bytearray(b"p" * 256)  # whatever is nothing else is punctuation
    for kind, members in _KINDS.items():
        for member in members:
            table[member] = ord(kind)
    for member in _FREE:
        table[member] = ord(" ")
    return bytes(table)


def _only(kind: bytes) -> bytes:
    members = b"lrum" if kind == b"w" else kind
    return bytes(kind[0] if byte in members else ord(" ") for byte in range(256))


_KIND = _kind_of_each_byte()
_RUNS = tuple((_only(kind), b" " + kind, tokens) for kind, tokens in _TOKENS_A_RUN)
_IN_ASCII = b"lrudnpw"
_ASCII_CHARACTERS = tuple(each for each in _TOKENS_A_CHARACTER if each[0] in _IN_ASCII)
_ASCII_RUNS = tuple(each for each in _RUNS if each[1][1:] in _IN_ASCII)


def tokens_of(text: bytes) -> float:
    """Return about how many tokens `text`, in UTF-8, is. Anything else is some number, too."""
    kinds = b" " + text.translate(_KIND, _LATER_BYTES)
    ascii_only = text.isascii()
    tokens = 0.0
    for kind, each in _ASCII_CHARACTERS if ascii_only else _TOKENS_A_CHARACTER:
        tokens += each * kinds.count(kind)
    for only, start, each in _ASCII_RUNS if ascii_only else _RUNS:
        tokens += each * kinds.translate(only).count(start)
    share = _foreign_share(text[:LANGUAGE_BYTES])
    if share:
        rare = kinds.count(b"r")
        letters = kinds.count(b"l") + rare
        tokens += share * _TOKENS_A_FOREIGN_LETTER * letters
        tokens += share * _TOKENS_A_FOREIGN_RARE_LETTER * rare
    return tokens


def _foreign_share(text: bytes) -> float:
    words = text.split()
    foreign = float(sum(map(_FOREIGN.__contains__, words)))
    if not text.isascii():
        foreign += _MARKED_LETTER_WORDS * text.translate(_KIND, _LATER_BYTES).count(b"m")
    if not foreign:
        return 0.0
    english = sum(map(_ENGLISH.__contains__, words))
    return foreign / (foreign + english + _DOUBT_WORDS)
