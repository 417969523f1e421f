"""`python -m tests.estimates`: how far off the estimate of a stream that was left early is.

Prints the table of docs/limits.md. `--recount tokenizer.json` counts the texts anew with the last
tokenizer that Anthropic published: `anthropic/tokenizer.json` in the wheel of `anthropic==0.38.0`.
That needs `pip install tokenizers`, which nothing else here does.
"""

import argparse
import json
import sys
from pathlib import Path

from tests.estimates.corpus import COUNTS, FOLDER, TOKENS_PER_DELTA, Text, corpus, quantile

NAMES = {
    "english": "English prose, thinking",
    "european": "nine other European languages",
    "scripts": "Chinese, Japanese, Korean, Russian, Arabic, Hindi, Greek, emoji",
    "code": "code in ten languages",
    "tools": "JSON, input of tools",
    "markdown": "Markdown with code, tables, formulas",
}


def main() -> int:
    """Print the table, or write the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.estimates")
    parser.add_argument("--recount", type=Path, metavar="TOKENIZER_JSON")
    parser.add_argument("--each", action="store_true", help="show every text")
    arguments = parser.parse_args()
    if arguments.recount:
        recount(arguments.recount)
    texts = corpus()
    if arguments.each:
        for text in texts:
            shown = " ".join(f"{error:+6.1%}" for error in text.errors())
            sys.stdout.write(f"{text.kind + '/' + text.name:28} {text.tokens:4} {shown}\n")
    sys.stdout.write(table(texts))
    return 0


def table(texts: list[Text]) -> str:
    """Return the table of errors by kind, in Markdown."""
    lines = ["| text | tokens | median | 95th percentile | worst |", "|---|---|---|---|---|"]
    for kind, name in NAMES.items():
        lines.append(_row(name, [text for text in texts if text.kind == kind]))
    lines.append(_row("**all**", texts))
    return "\n".join(lines) + "\n"


def recount(tokenizer_json: Path) -> None:
    """Write `counts.json`."""
    from tokenizers import Tokenizer  # type: ignore[import-not-found]

    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    counts = {}
    for path in sorted(FOLDER.glob("texts/*/*.txt")):
        text = path.read_text(encoding="utf-8")
        token_ends = [
            end for _begin, end in tokenizer.encode(text, add_special_tokens=False).offsets
        ]
        last = len(token_ends) - 1
        ends = [
            token_ends[min(last, first + TOKENS_PER_DELTA - 1)]
            for first in range(0, len(token_ends), TOKENS_PER_DELTA)
        ]
        counts[f"{path.parent.name}/{path.stem}"] = {"tokens": len(token_ends), "ends": ends}
    COUNTS.write_text(json.dumps(counts, separators=(",", ":")).replace("},", "},\n") + "\n")


def _row(name: str, texts: list[Text]) -> str:
    errors = [abs(error) for text in texts for error in text.errors()]
    tokens = sum(text.tokens for text in texts)
    median, most, worst = quantile(errors, 0.5), quantile(errors, 0.95), max(errors)
    return f"| {name} | {tokens:,} | {median:.1%} | {most:.1%} | {worst:.1%} |"


if __name__ == "__main__":
    sys.exit(main())
