"""The head of a request as it goes over the wire (RFC 9112). Pure.

What is put together here was taken apart elsewhere, so nothing should be able to smuggle a second
header or a second request in; it is checked all the same, by a few searches over the whole head.
"""

import re

from proxy.core.headers import Headers

_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TARGET = re.compile(rb"/[\x21-\x7e\x80-\xff]*")
_BODILESS = (b"GET", b"HEAD")


class BadRequestHead(ValueError):
    """A method, target, header name or value that cannot be sent as it is."""


def request_head(
    method: bytes, target: bytes, host: bytes, headers: Headers, body_bytes: int
) -> bytes:
    """Return the head, its empty line included. `host` and the length come first.

    Raises `BadRequestHead`.
    """
    first = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, host)
    if body_bytes or method not in _BODILESS:
        first += b"content-length: %d\r\n" % body_bytes
    head = first + b"".join([b"%b: %b\r\n" % pair for pair in headers]) + b"\r\n"
    lines = first.count(b"\r\n") + len(headers) + 1
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise BadRequestHead("a line break or a NUL inside the head of a request")
    names = b"".join([name for name, _value in headers]) + method
    if names.translate(None, _TOKEN_BYTES) or not all(map(_name, headers)):
        raise BadRequestHead("a header or the method has a name that is none")
    if _TARGET.fullmatch(target) is None:
        raise BadRequestHead("a path with a space or a control character")
    return head


def _name(pair: tuple[bytes, bytes]) -> bytes:
    return pair[0]
