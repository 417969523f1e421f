"""How the client gets there: TLS, several addresses of a name, a proxy on the way."""

import asyncio
import base64
import socket
import ssl

import pytest
import trustme

from proxy import dialing
from proxy.dialing import proxy_for
from proxy.upstream import Upstream, UpstreamUnreachable
from tests.integration.proxy.upstream.wire import WHOLE, Wire, ask, read, saying, serving


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


def certificate(authority, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def test_tls_with_a_certificate_of_an_authority_of_ours(client, authority, trusted):
    names = []
    tls = certificate(authority, "localhost")
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    async with serving(saying(WHOLE), tls=tls) as server:
        for _ in range(2):
            assert await read(await ask(client, server, b"x" * 1_000_000)) == b"hello"
    assert (server.connections, names) == (1, ["localhost"])


async def test_an_authority_that_is_not_ours_is_not_believed(client, authority):
    async with serving(saying(WHOLE), tls=certificate(authority, "localhost")) as server:
        with pytest.raises(UpstreamUnreachable, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await ask(client, server)
    assert (caught.value.sent, server.requests) == (False, [])


async def test_a_certificate_of_another_name_is_not_believed(client, authority, trusted):
    async with serving(saying(WHOLE), tls=certificate(authority, "example.org")) as server:
        with pytest.raises(UpstreamUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(client, server)
    assert server.requests == []


async def test_a_caller_may_give_up_in_the_handshake(client):
    async def play(wire, server):
        await wire.closed()

    async with serving(play) as server:
        address = Upstream("x", server.upstream.base_url.replace("http:", "https:"), ())
        asking = asyncio.create_task(client.send(address, "POST", "/", b"", [], b""))
        async with asyncio.timeout(5):
            while not server.open:
                await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


def named(monkeypatch, *addresses) -> None:
    """Let every name have these addresses."""

    async def resolve(_host, _port):
        return list(addresses)

    monkeypatch.setattr(dialing, "_resolve", resolve)


def refused() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()


async def test_an_address_that_refuses_is_passed_over(client, monkeypatch):
    async with serving(saying(WHOLE)) as server:
        port = int(server.upstream.base_url.rpartition(":")[2])
        named(
            monkeypatch,
            (socket.AF_INET6, ("::1", port)),
            (socket.AF_INET, refused()),
            (socket.AF_INET, ("127.0.0.1", port)),
        )
        assert await read(await ask(client, server)) == b"hello"


async def test_an_address_that_says_nothing_is_overtaken(client, monkeypatch):
    # A queue for connections that is full: the kernel then ignores who knocks.
    silent = socket.create_server(("127.0.0.1", 0), backlog=0)
    knocking = [socket.socket() for _ in range(3)]
    for one in knocking:
        one.setblocking(False)
        one.connect_ex(silent.getsockname())
    try:
        async with serving(saying(WHOLE)) as server:
            port = int(server.upstream.base_url.rpartition(":")[2])
            named(
                monkeypatch,
                (socket.AF_INET, silent.getsockname()),
                (socket.AF_INET, ("127.0.0.1", port)),
            )
            assert await read(await ask(client, server)) == b"hello"
    finally:
        for one in (silent, *knocking):
            one.close()


async def test_addresses_that_all_refuse_are_unreachable(client, monkeypatch):
    named(monkeypatch, (socket.AF_INET, refused()), (socket.AF_INET, refused()))
    with pytest.raises(UpstreamUnreachable) as caught:
        await client.send(Upstream("x", "http://a.test", ()), "POST", "/", b"", [], b"")
    assert not caught.value.sent


async def test_a_name_that_leads_nowhere_is_unreachable(client):
    upstream = Upstream("x", "http://nowhere.invalid", ())
    with pytest.raises(UpstreamUnreachable) as caught:
        await client.send(upstream, "POST", "/", b"", [], b"")
    assert not caught.value.sent


async def test_an_ipv6_address_works(client):
    async with serving(saying(WHOLE), host="::1") as server:
        assert await read(await ask(client, server)) == b"hello"
    assert b"\r\nhost: [::1]:" in server.requests[0]


# --- A proxy on the way ------------------------------------------------------------------------


def connecting(answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"):
    """A proxy: answer CONNECT, then pass bytes on to where it asked."""

    async def play(wire: Wire, server) -> None:
        request = await wire.reader.readuntil(b"\r\n\r\n")
        server.requests.append(request)
        await wire.say(answer)
        host, _, port = request.split(b" ")[1].decode().rpartition(":")
        reader, writer = await asyncio.open_connection(host, port)
        try:
            back = asyncio.create_task(passing(reader, wire.writer))
            await passing(wire.reader, writer)
            await back
        finally:
            writer.close()

    return play


async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def test_tls_goes_through_the_proxy_of_the_environment(
    client, authority, trusted, monkeypatch
):
    tls = certificate(authority, "localhost")
    async with serving(saying(WHOLE), tls=tls) as server, serving(connecting()) as proxy:
        url = proxy.upstream.base_url.replace("http://", "http://me:pa%40ss@")
        monkeypatch.setenv("HTTPS_PROXY", url)
        monkeypatch.setenv("NO_PROXY", "")
        assert await read(await ask(client, server)) == b"hello"
        await client.close()
    goal = server.upstream.base_url.removeprefix("https://").encode()
    assert proxy.requests[0].startswith(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n" % (goal, goal))
    assert base64.b64encode(b"me:pa@ss") in proxy.requests[0]


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 407 No\r\n\r\n", b"\r\n\r\n", b"x" * 20_000],
    ids=["refuses", "is none", "does not end"],
)
async def test_a_proxy_that_does_not_connect_is_unreachable(client, monkeypatch, answer):
    async def play(wire, server):
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.say(answer)
        await wire.closed()

    async with serving(play) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.upstream.base_url)
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(UpstreamUnreachable, match="HTTPS_PROXY") as caught:
            await client.send(Upstream("x", "https://a.test", ()), "POST", "/", b"", [], b"")
    assert not caught.value.sent


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"https": "http://p:3128"}, ("p", 3128), id="with a port"),
        pytest.param({"https": "p"}, ("p", 80), id="bare"),
        pytest.param({"https": "http://p", "no": "b.test,a.test"}, None, id="excepted"),
        pytest.param({"https": "http://p", "no": ".test"}, None, id="domain excepted"),
        pytest.param({"https": "http://p", "no": "*"}, None, id="all excepted"),
        pytest.param({"https": "http://p", "no": "b.test"}, ("p", 80), id="another excepted"),
    ],
)
def test_which_proxy_leads_to_a_host(environment, found):
    proxy = proxy_for("a.test", 443, environment)
    assert (proxy and (proxy.host, proxy.port)) == found


def test_a_proxy_that_speaks_tls_itself_is_not_supported():
    with pytest.raises(OSError, match="http:// address"):
        proxy_for("a.test", 443, {"https": "https://p"})
