"""A server that answers `GET` as a test says, and remembers what it was asked."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], bytes]


class ModelsServer:
    """`answer` gets path and headers and returns status, headers and body."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[str, dict[str, str]], Answer] = lambda _path, _headers: models("a")
        self.closing = threading.Event()


def models(*ids: str, **fields: object) -> Answer:
    """A page of the models list."""
    page = {"data": [{"id": model_id} for model_id in ids]} | fields
    return 200, {"content-type": "application/json"}, json.dumps(page).encode()


def error(status: int, message: str, **headers: str) -> Answer:
    """An error as Anthropic words it."""
    said = {"type": "error", "error": {"type": "api_error", "message": message}}
    return status, headers, json.dumps(said).encode()


@contextlib.contextmanager
def serving() -> Iterator[ModelsServer]:
    """Run one on a free port."""
    server = ModelsServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.asked.append((self.path, headers))
            status, answered, body = server.answer(self.path, headers)
            with contextlib.suppress(OSError):  # Whoever asked may have left.
                self.send_response(status)
                for name, value in ({"content-length": str(len(body))} | answered).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            httpd.shutdown()
            thread.join()
