"""A bare nginx in front of the upstream: what a hop costs that does nothing but pass on."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench import processes
from bench.processes import NotReady

_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/answers;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 32m;
  client_body_buffer_size 2m;
  keepalive_requests 1000000;
  upstream benchmark {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://benchmark;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@contextlib.contextmanager
def running(upstream: int, *, cores: frozenset[int], folder: Path) -> Iterator[int | None]:
    """Run nginx before the upstream's port and give its own; `None` where there is no nginx."""
    program = shutil.which("nginx", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    if program is None:
        yield None
        return
    port, log = processes.free_port(), folder / "nginx.log"
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, upstream=upstream, port=port))
    command = [program, "-p", folder, "-c", file]
    with processes.running(command, cores=cores, log=log) as process:
        try:
            processes.wait_for(f"http://127.0.0.1:{port}/nothing", process, log)
        except NotReady:
            port = 0  # Installed and broken is for its owner; the run goes on without it.
        yield port or None
