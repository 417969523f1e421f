"""What the command line can choose, as one value."""

from dataclasses import dataclass, field

from simulator.marks import Mark, Script

# About 0.9 KB each, so 90 MB at most.
BOOKS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Options:
    """Choices for a whole run: every request starts from `script`, then `marks`, then its own.

    `credentials` are the accepted ones; none given accepts any that is not empty. With a `seed`,
    ids and words are the same in every run.
    """

    seed: int | None = None
    credentials: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    books_max: int = BOOKS_MAX
    script: Script = field(default_factory=Script)
    marks: tuple[Mark, ...] = ()
