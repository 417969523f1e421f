"""The shipped `deploy/nginx.conf` as one whole configuration, but for the addresses."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


def configuration(
    folder: Path, listen: str, gateways: Sequence[str], *, encrypted: bool = False
) -> str:
    """Return what makes nginx listen on `listen` in front of `gateways`; its files are in `folder`.

    Both are `address:port`; the options of the example's one gateway are those of each. `encrypted`
    keeps TLS, with `certificate.pem` and `key.pem` of the folder.
    """
    site = (ROOT / "deploy" / "nginx.conf").read_text()
    site = re.sub(r"server \{\n    listen 80;.*?\n\}\n", "", site, flags=re.DOTALL)
    if encrypted:
        site = re.sub(r"(ssl_certificate) .*;", rf"\1 {folder}/certificate.pem;", site)
        site = re.sub(r"(ssl_certificate_key) .*;", rf"\1 {folder}/key.pem;", site)
        listen = f"{listen} ssl"
    else:
        site = re.sub(r"    ssl_certificate.*\n", "", site)
    site = site.replace("listen 443 ssl;", f"listen {listen};")
    server = re.search(r"^    server 127\.0\.0\.1:8000.*\n", site, flags=re.MULTILINE)
    assert server is not None
    servers = [server[0].replace("127.0.0.1:8000", gateway) for gateway in gateways]
    site = site.replace(server[0], "".join(servers))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"pid {folder}/pid;\nerror_log {folder}/error.log;\n"
        "events { worker_connections 4096; }\n"
        f"http {{\naccess_log off;\n{temporary}{site}}}\n"
    )
