"""Where Valkey is: one URL in, what a client must know out. Opens no connection.

    redis://user:password@host:6379/0          one server, or whatever looks like one
    unix:///path?db=0                          the same, through a socket
    redis+cluster://user:password@h1:6379,h2   Valkey Cluster; some of its nodes are enough
    redis+sentinel://:password@h1:26379,h2/SERVICE?db=0
                                               the primary that Sentinel calls SERVICE

With `rediss` in place of `redis` connections are encrypted, those to sentinels too. User and
password are Valkey's; sentinels that want some get `?sentinel_username=` and
`?sentinel_password=`. Other options (`?ssl_ca_certs=…`) are left to the client.
"""

import enum
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote, urlencode

PORT, SENTINEL_PORT = 6379, 26379


class BadValkeyAddress(ValueError):
    """The text is no address of Valkey; the message says why and holds no secret."""


class Form(enum.Enum):
    """How Valkey is run."""

    SINGLE = "single"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


@dataclass(frozen=True, slots=True)
class ValkeyAddress:
    """Where Valkey is.

    `nodes` are those to ask first: the server, nodes of the cluster, or sentinels; none for a
    socket. `url` is what a client of one server reads: of the first node, with user, password and
    options; for Sentinel its host means nothing.
    """

    form: Form
    url: str
    nodes: tuple[tuple[str, int], ...] = ()
    password: str = ""
    encrypted: bool = False
    service: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""


_SCHEMES = {
    "redis": (Form.SINGLE, "redis"),
    "rediss": (Form.SINGLE, "rediss"),
    "unix": (Form.SINGLE, "unix"),
    "redis+cluster": (Form.CLUSTER, "redis"),
    "rediss+cluster": (Form.CLUSTER, "rediss"),
    "redis+sentinel": (Form.SENTINEL, "redis"),
    "rediss+sentinel": (Form.SENTINEL, "rediss"),
}


def parse(url: str) -> ValkeyAddress:
    """Return what `url` says. Raises `BadValkeyAddress`."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() not in _SCHEMES:
        raise BadValkeyAddress(f"It begins with none of {', '.join(_SCHEMES)}.")
    form, plain = _SCHEMES[scheme.lower()]
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    if plain == "unix":
        if not path:
            raise BadValkeyAddress("It names no socket.")
        return ValkeyAddress(form, url, password=_password(user))
    nodes = _nodes(hosts, SENTINEL_PORT if form is Form.SENTINEL else PORT)
    address = ValkeyAddress(form, url, nodes, _password(user), encrypted=plain == "rediss")
    if form is Form.SINGLE:
        if len(nodes) > 1:
            raise BadValkeyAddress("Several hosts need redis+cluster:// or redis+sentinel://.")
        return address
    options = dict(parse_qsl(query))
    if form is Form.CLUSTER:
        if path.strip("/") not in ("", "0") or options.pop("db", "0") != "0":
            raise BadValkeyAddress("A cluster has one database alone, 0.")
        return replace(address, url=_url(plain, user + at, nodes[0], "", options))
    service = unquote(path.strip("/"))
    if not service or "/" in service:
        raise BadValkeyAddress("Behind the sentinels it names one service: …/SERVICE?db=0.")
    db = options.pop("db", "0")
    if not db.isdecimal():
        raise BadValkeyAddress("db is no number.")
    return replace(
        address,
        service=service,
        sentinel_username=options.pop("sentinel_username", ""),
        sentinel_password=options.pop("sentinel_password", ""),
        url=_url(plain, user + at, nodes[0], db, options),
    )


def _nodes(hosts: str, port: int) -> tuple[tuple[str, int], ...]:
    nodes = tuple(_node(host, port) for host in hosts.split(","))
    if len(set(nodes)) < len(nodes):
        raise BadValkeyAddress("It names a host twice.")
    return nodes


def _node(text: str, port: int) -> tuple[str, int]:
    """Read `host`, `host:port`, `[address]` or `[address]:port`."""
    host, bracket, rest = text.rpartition("]")
    if bracket:
        host, separator, number = host.removeprefix("["), rest[:1], rest[1:]
    else:
        host, separator, number = text.partition(":")
    if not host or separator not in ("", ":") or bool(separator) is not bool(number):
        raise BadValkeyAddress("It names a host by nothing, or a port by nothing.")
    if number and not (number.isdecimal() and 0 < int(number) < 65536):
        raise BadValkeyAddress("A port is a number up to 65535.")
    return host, int(number or port)


def _password(user: str) -> str:
    return unquote(user.partition(":")[2])


def _url(scheme: str, user: str, node: tuple[str, int], path: str, options: dict[str, str]) -> str:
    host, port = node
    named = f"[{host}]" if ":" in host else host
    query = f"?{urlencode(options)}" if options else ""
    return f"{scheme}://{user}{named}:{port}/{path}{query}"
