"""TLS for the Valkeys of tests: a server that can speak it, and certificates of an own authority.

The server of the installed wheel is built without; those of Debian and Ubuntu are built with.
"""

import functools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import trustme

# Redis 7 or later is as good (docs/settings.md), and in more distributions.
_NAMES = ("valkey-server", "redis-server")
_WITHOUT_TLS = b"TLS support"


class Encryption:
    """A server that speaks TLS, and the files that it and its clients take."""

    def __init__(self, folder: Path) -> None:
        found = server_with_tls()
        assert found is not None
        self.binary = found
        self._authority = folder / "authority.pem"
        self._certificate = folder / "certificate.pem"
        self._key = folder / "key.pem"
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(self._authority))
        issued.cert_chain_pems[0].write_to_path(str(self._certificate))
        issued.private_key_pem.write_to_path(str(self._key))

    def of_server(self, port: int) -> Mapping[str, object]:
        """Return the options of a server that takes TLS on `port`, and nothing else anywhere."""
        return {
            "port": 0,
            "tls-port": port,
            "tls-cert-file": self._certificate,
            "tls-key-file": self._key,
            "tls-ca-cert-file": self._authority,
            "tls-auth-clients": "no",
            "tls-replication": "yes",
            "tls-cluster": "yes",
        }

    def of_client(self) -> dict[str, object]:
        """Return the options of a client of redis-py that trusts the authority and no other."""
        return {"ssl": True, **self._options()}

    def of_url(self, url: str) -> str:
        """Return `url` for a client that trusts the authority and no other."""
        return f"{url}?{urlencode(self._options())}"

    def _options(self) -> dict[str, str]:
        return {"ssl_ca_certs": str(self._authority)}


@functools.cache
def server_with_tls() -> Path | None:
    """Return a server on this machine that speaks TLS."""
    for found in filter(None, map(shutil.which, _NAMES)):
        # It starts in neither case: it is told of no certificate.
        command = [found, "--port", "0", "--tls-port", "1", "--save", ""]
        said = subprocess.run(command, capture_output=True, timeout=10, check=False)
        if _WITHOUT_TLS not in said.stdout:
            return Path(found)
    return None
