"""The ledger's side of the verdict: what it has of a crowd, and whether it agrees with itself."""

import io
from collections import Counter
from typing import Any


def ledger_rows(*names: str) -> list[dict[str, Any]]:
    """Return the rows of the crowds of these names."""
    # It needs Django.
    from usage.models import LedgerEntry

    return [
        row
        for name in names
        for row in LedgerEntry.objects.filter(client_agent__startswith=f"{name}/").values()
    ]


def verify() -> tuple[list[str], str]:
    """Run `ledger_verify`; return the differences, and its last line."""
    from django.core.management import call_command
    from django.db import connection

    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # Postgres is another by now.
    out = io.StringIO()
    try:
        call_command("ledger_verify", stdout=out)
    except SystemExit:
        *differences, summary = out.getvalue().splitlines()
        return [f"ledger_verify: {line}" for line in differences], summary
    return [], out.getvalue().splitlines()[-1]


def counted(counts: Counter[str]) -> str:
    """Return counts as a line, the most frequent first."""
    return ", ".join(f"{name} {number:,}" for name, number in counts.most_common())
