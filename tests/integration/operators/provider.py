"""A small OpenID provider on a port of its own: keys, codes, PKCE, and any fault one asks for."""

import base64
import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "claudcode", "s3cret/+ of ours"


@cache
def a_key(name: str) -> rsa.RSAPrivateKey:
    """Return the key that is called `name`."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(name: str) -> dict[str, Any]:
    """Return what the key set says of the key `name`."""
    row = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(a_key(name).public_key()))
    return row | {"kid": name, "use": "sig"}


class OpenIDProvider:
    """Holds what the next person is said to be, and how the answers are spoiled."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.signed = {"key": a_key("one"), "algorithm": "RS256", "headers": {"kid": "one"}}
        self.published = [public("one")]
        self.described: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.huge = False
        self.trickles = False
        self.asked: list[str] = []
        self.issuer = ""

    def approve(self, address: str) -> dict[str, str]:
        """Return what the browser brings back that was sent to `address`."""
        query = {k: v[0] for k, v in parse_qs(urlsplit(address).query).items()}
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return {"code": code, "state": query["state"]}

    def description(self) -> dict[str, Any]:
        here = self.issuer
        return {
            "issuer": here,
            "authorization_endpoint": f"{here}/authorize",
            "token_endpoint": f"{here}/token",
            "jwks_uri": f"{here}/keys",
        } | self.described

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        # Form-encoded, then base64 (RFC 6749 2.3.1).
        pair = base64.b64encode(b"claudcode:s3cret%2F%2B+of+ours").decode()
        begun = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            begun is None
            or authorization != f"Basic {pair}"
            or proof != begun["code_challenge"]
            or form["redirect_uri"] != begun["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "ada-1",
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": begun["nonce"],
            "email": "ada@example.com",
            "email_verified": True,
            "groups": ["sre"],
        } | self.claims
        return 200, {"id_token": jwt.encode(claims, **self.signed), "token_type": "Bearer"}


@contextlib.contextmanager
def running() -> Iterator[OpenIDProvider]:
    """Serve a provider until the end of the block."""
    provider = OpenIDProvider()
    ends = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            keys = {"keys": provider.published}
            self._send(200, keys if self.path == "/keys" else provider.description())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {k: v[0] for k, v in parse_qs(body).items()}
            self._send(*provider.token(form, self.headers.get("Authorization", "")))

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode() + b" " * (2**20 if provider.huge else 0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                if not provider.trickles:
                    self.wfile.write(body)
                while provider.trickles and not ends.wait(0.1):
                    self.wfile.write(b" ")

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        ends.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
