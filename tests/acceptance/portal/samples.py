"""The code samples of the documentation, as the gateway serves them to a reader."""

import re
from dataclasses import dataclass

import httpx

from portal import library

_FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """The `number`th fence of a page. `kind` is its last word: a tab, or a name of its own."""

    page: str
    number: int
    language: str
    kind: str
    flags: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        """How a test calls it."""
        return f"{self.page}-{self.number}-{self.kind}"


def samples_of(page: str, text: str) -> list[Sample]:
    """Return the fences of a page in order."""
    found = []
    for number, (info, code) in enumerate(_FENCE.findall(text)):
        words = info.split()
        found.append(Sample(page, number, words[0], words[-1], tuple(words[1:-1]), code))
    return found


def written() -> list[Sample]:
    """Return all samples as they stand in the files, to know which there are."""
    return [sample for page in library.pages() for sample in samples_of(page.slug, page.text)]


def served(http: httpx.Client, base_url: str, sample: Sample, key: str) -> str:
    """Return the sample as the gateway at `base_url` serves it, with a reader's key put in."""
    answer = http.get(f"{base_url}/docs/{sample.page}.md")
    assert answer.status_code == 200
    fresh = next(
        other
        for other in samples_of(sample.page, answer.text)
        if (other.kind, other.flags, without_reader(other.text, base_url))
        == (sample.kind, sample.flags, sample.text)
    )
    assert library.ADDRESS not in fresh.text
    return fresh.text.replace(library.KEY, key)


def without_reader(text: str, base_url: str) -> str:
    """Return `text` with the placeholder of the address in it again."""
    return text.replace(base_url, library.ADDRESS)
