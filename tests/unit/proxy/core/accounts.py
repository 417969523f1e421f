"""Accounts for tests; each states only what matters to it."""

from typing import Any

from proxy.core.account import Account


def an_account(number: int = 1, **fields: Any) -> Account:
    """An account that serves every model and has no limit."""
    given = {
        "id": number,
        "name": f"account {number}",
        "base_url": "http://127.0.0.1:1",
        "headers": ((b"x-api-key", b"credential of account %d" % number),),
        "priority": 10,
        "weight": 1,
        "concurrency": None,
        "rpm": None,
        "models": (),
        "fingerprint": f"{number:032x}",
    }
    return Account(**(given | fields))
