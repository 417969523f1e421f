"""The head of a request as it goes over the wire."""

import pytest

from proxy.core.request_head import BadRequestHead, request_head


def test_a_head_is_its_lines():
    head = request_head(b"POST", b"/v1/a?b", b"h:1", [(b"x-a", b"1"), (b"x-b", b"")], 7)
    assert head == (
        b"POST /v1/a?b HTTP/1.1\r\nhost: h:1\r\ncontent-length: 7\r\nx-a: 1\r\nx-b: \r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "length", "told"),
    [(b"POST", 0, True), (b"GET", 0, False), (b"HEAD", 0, False), (b"GET", 1, True)],
)
def test_a_length_is_told_where_a_body_could_be(method, length, told):
    assert (b"content-length" in request_head(method, b"/", b"h", [], length)) is told


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        pytest.param(b"POST", b"/", [(b"a", b"b\r\nc: d")], id="line break in a value"),
        pytest.param(b"POST", b"/", [(b"a", b"b\nc: d")], id="LF in a value"),
        pytest.param(b"POST", b"/", [(b"a", b"b\rc: d")], id="CR in a value"),
        pytest.param(b"POST", b"/", [(b"a", b"b\0")], id="NUL in a value"),
        pytest.param(b"POST", b"/", [(b"a\r\nb", b"c")], id="line break in a name"),
        pytest.param(b"POST", b"/", [(b"a:b", b"c")], id="colon in a name"),
        pytest.param(b"POST", b"/", [(b"a b", b"c")], id="space in a name"),
        pytest.param(b"POST", b"/", [(b"", b"c")], id="no name"),
        pytest.param(b"POST", b"/ HTTP/1.1\r\nx: y", [], id="line break in the target"),
        pytest.param(b"POST", b"/a b", [], id="space in the target"),
        pytest.param(b"POST", b"v1", [], id="target without a slash"),
        pytest.param(b"PO ST", b"/", [], id="space in the method"),
    ],
)
def test_nothing_is_smuggled_into_a_head(method, target, headers):
    with pytest.raises(BadRequestHead):
        request_head(method, target, b"h", headers, 0)
