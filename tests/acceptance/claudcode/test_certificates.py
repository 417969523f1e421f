"""nginx as it is shipped, with TLS: a stream passes, and a new certificate interrupts nobody."""

import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

from tests.acceptance.developer import PATIENCE_S, Developer, a_question
from tests.acceptance.gateway_process import GatewayProcess, free_port
from tests.nginx import NGINX, configuration
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists(NGINX), reason="nginx is not installed")


@dataclass(frozen=True, slots=True)
class Front:
    """A running nginx. `command` is how it was started, `authority` who signs for it."""

    folder: Path
    port: int
    command: list[str]
    authority: trustme.CA

    def certify(self) -> None:
        """Put a certificate that is good from now on in place."""
        issued = self.authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(self.folder / "certificate.pem"))

    def reload(self) -> None:
        """Have it read its files again."""
        subprocess.run([*self.command, "-s", "reload"], check=True, capture_output=True)

    def shown(self) -> str:
        """Return the certificate that a new connection is shown; empty if there is none."""
        try:
            return ssl.get_server_certificate(("127.0.0.1", self.port))
        except OSError:
            return ""


@pytest.fixture
def front(gateway: GatewayProcess, tmp_path: Path) -> Iterator[Front]:
    port = free_port()
    command = [NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    front = Front(tmp_path, port, command, trustme.CA())
    front.certify()
    gateways = [f"127.0.0.1:{gateway.port}"]
    (tmp_path / "nginx.conf").write_text(
        configuration(tmp_path, f"127.0.0.1:{port}", gateways, encrypted=True)
    )
    with subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL) as nginx:
        wait_until(front.shown, 15)
        yield front
        nginx.terminate()


def test_a_new_certificate_interrupts_no_stream(front: Front, developer: Developer):
    trust = ssl.create_default_context()
    front.authority.configure_trust(trust)
    before = front.shown()
    question = a_question("[[sim:tokens=60]] [[sim:rate=20]] Hello", stream=True)
    with (
        httpx.Client(timeout=PATIENCE_S, trust_env=False, verify=trust) as http,
        http.stream(
            "POST",
            f"https://127.0.0.1:{front.port}/v1/messages",
            json=question,
            headers=developer.headers,
        ) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines) == "event: message_start"
        front.certify()
        front.reload()
        wait_until(lambda: front.shown() not in ("", before), 15)
        assert list(lines)[-3:-2] == ["event: message_stop"]
