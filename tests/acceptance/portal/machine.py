"""A developer's machine: runs `setup.sh` as `curl | sh` does, with and without a terminal."""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.clients.sdk import bare_environment

# A crowded machine takes its time to start Python and Node.js.
PATIENCE_S = 120
# Makes the terminal named first the process' own, then becomes the rest of the arguments.
_WITH_TERMINAL = """
import fcntl, os, sys, termios
terminal = os.open(sys.argv[1], os.O_RDWR)
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.close(terminal)
os.execvp(sys.argv[2], sys.argv[2:])
"""
NO = {"CLAUDCODE_SETUP_INSTALL": "no"}


class Terminal:
    """What a person sees and types."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self._process = process
        self.seen = ""
        self._answered = 0

    def answer(self, question: str, text: str) -> None:
        """Wait until `question` stands at the end of the screen, then type `text` and Enter."""
        self._read_until(lambda: self.seen[self._answered :].rstrip().endswith(question))
        self._answered = len(self.seen)
        os.write(self._descriptor, text.encode() + b"\n")

    def finish(self) -> int:
        """Wait until the script ends; return its status."""
        self._read_until(lambda: self._process.poll() is not None)
        return self._process.wait(PATIENCE_S)

    def _read_until(self, done) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, self.seen
            if select.select([self._descriptor], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):  # The other side is gone.
                    self.seen += os.read(self._descriptor, 65536).decode()


class Machine:
    """A home and a working folder, both empty, and a shell."""

    def __init__(self, script: str, folder: Path, shell: list[str]) -> None:
        self.script = script
        self.shell = shell
        self.home, self.work = folder / "home", folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.project = self.work / "claudcode-project"
        self.claude = self.home / ".claude"

    def setup(
        self, secret: str = "", *words: str, user: int | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Pipe the script into the shell, without a terminal; variables as CLAUDCODE_SETUP_…"""
        return subprocess.run(
            [*self.shell, "-s", *words],
            input=self.script,
            env=self._environment(secret, variables),
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            start_new_session=True,
            user=user,
        )

    @contextlib.contextmanager
    def terminal(self, **variables: str) -> Iterator[Terminal]:
        """Pipe the script into the shell on a terminal."""
        mine, theirs = os.openpty()
        command = [sys.executable, "-c", _WITH_TERMINAL, os.ttyname(theirs), *self.shell, "-s"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
            env=self._environment("", variables),
            cwd=self.work,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(self.script.encode())
            process.stdin.close()
            try:
                yield Terminal(mine, process)
            finally:
                process.kill()
                os.close(mine)
                os.close(theirs)

    def run(self, *command: str) -> str:
        """Run a program in the project; return what it prints."""
        done = subprocess.run(
            command,
            env=bare_environment(self.home),
            cwd=self.project,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _environment(self, secret: str, variables: dict[str, str]) -> dict[str, str]:
        environment = bare_environment(self.home)
        environment |= {"CLAUDCODE_API_KEY": secret} if secret else {}
        named = {name: value for name, value in variables.items() if name == "PATH"}
        ours = {f"CLAUDCODE_SETUP_{n}": v for n, v in variables.items() if n not in named}
        return environment | NO | ours | named
