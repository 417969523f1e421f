"""The gateway's address as scripts may carry it: nothing in it means anything to a shell."""

import re

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])"
# No quotes, blanks, dollars, backticks or backslashes: safe inside quotes of every shell.
_ADDRESS = re.compile(rf"https?://{_HOST}(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_LENGTH_MAX = 300


class UnsafeAddress(ValueError):
    """This address must not be written into a script."""


def plain_root(address: str) -> str:
    """Return `address` as SDKs expect it: without `/v1` or a slash at the end.

    Raises `UnsafeAddress` for anything but letters, digits, dots and hyphens in their places.
    """
    root = address.rstrip("/").removesuffix("/v1")
    if len(root) > _LENGTH_MAX or not _ADDRESS.fullmatch(root):
        raise UnsafeAddress("The address under which this was asked for cannot be in a script.")
    return root
