"""A mail server that keeps what it is sent: SMTP with STARTTLS or TLS throughout, and a password.

It takes no mail before a client has turned TLS on and signed in, as real ones do.
"""

import base64
import contextlib
import socketserver
import ssl
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage

import trustme

USER, PASSWORD = "gateway", "mail-pass"


class MailServer:
    """`mails` are what came, `url` is for CLAUDCODE_EMAIL_URL; `refuse` is said to a letter."""

    def __init__(self, *, implicit: bool) -> None:
        self.mails: list[EmailMessage] = []
        self.refuse = ""
        self.implicit = implicit
        self.authority = trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost").configure_cert(self.context)
        self.url = ""


@contextlib.contextmanager
def serving(*, implicit: bool = False) -> Iterator[MailServer]:
    """Run one on a free port; with `implicit` it speaks TLS from the first byte."""
    server = MailServer(implicit=implicit)

    class Handler(_Conversation):
        mail_server = server

    with _Threads(("127.0.0.1", 0), Handler) as tcp:
        scheme = "smtps" if implicit else "smtp+tls"
        server.url = f"{scheme}://{USER}:{PASSWORD}@localhost:{tcp.server_address[1]}"
        thread = threading.Thread(target=tcp.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            tcp.shutdown()
            thread.join()


class _Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Conversation(socketserver.BaseRequestHandler):
    mail_server: MailServer

    def handle(self) -> None:
        self.socket, self.file = self.request, self.request.makefile("rb")
        self.secure = self.known = False
        with contextlib.suppress(OSError):  # A client that trusts nobody hangs up.
            if self.mail_server.implicit:
                self._turn_tls_on()
            self._say("220 ready")
            while (line := self.file.readline()) and self._answer(line.decode().strip()):
                pass
        self.file.close()
        self.socket.close()

    def _answer(self, line: str) -> bool:
        verb = line.partition(" ")[0].upper()
        if verb == "EHLO":
            self._say("250-localhost", "250 AUTH PLAIN" if self.secure else "250 STARTTLS")
        elif verb == "STARTTLS":
            self._say("220 go on")
            self._turn_tls_on()
        elif verb == "AUTH":
            self.known = self.secure and line.split()[2] == _credential()
            self._say("235 welcome" if self.known else "535 wrong")
        elif verb == "QUIT":
            self._say("221 bye")
            return False
        elif not self.known:
            self._say("530 sign in first")
        elif verb == "DATA":
            self._take()
        else:
            self._say("250 fine")
        return True

    def _take(self) -> None:
        self._say("354 go on")
        lines = []
        while (line := self.file.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        if self.mail_server.refuse:
            self._say(self.mail_server.refuse)
            return
        letter = message_from_bytes(b"".join(lines), policy=policy.default)
        self.mail_server.mails.append(letter)
        self._say("250 taken")

    def _turn_tls_on(self) -> None:
        self.socket = self.mail_server.context.wrap_socket(self.socket, server_side=True)
        self.file.close()
        self.file, self.secure = self.socket.makefile("rb"), True

    def _say(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())


def _credential() -> str:
    return base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
