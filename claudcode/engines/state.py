"""The state folder: what the embedded run keeps, and how commands find a running one.

    lock          held (flock) by whoever runs the engines: `up`, or a command for its duration
    users         shared lock of the commands that use engines they did not start
    addresses     JSON, who holds the lock and the URLs; meaningful only while `lock` is held
    secret_key    Django's, made once
    credential_key    seals upstream credentials, made once
    logs/         of both engines, bounded
    run/          sockets; a private folder under /tmp when this path is too long for a socket
    postgres/ valkey/   the data

The kernel frees a lock when its holder dies, however it dies, so nothing here can go stale.
"""

import base64
import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from claudcode.engines.children import EngineError, EngineUser, wait_until

# `sun_path` holds 108 bytes with its final zero on Linux, 104 on macOS; the longest name in the
# folder is Postgres' `.s.PGSQL.5432.lock`.
SOCKET_FOLDER_BYTES_MAX = 103 - len("/.s.PGSQL.5432.lock")
# Anything else would need quoting in some URL or configuration on the way.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
START_SECONDS_MAX = 150.0
AWAY = Path("/var/lib/claudcode")
TEMPORARY = Path("/tmp")  # Not $TMPDIR: on macOS that is too long for a socket.


class StateBusy(EngineError):
    """Someone else runs the engines of this state folder."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the engines of a state folder listen, and who runs them (`up` or `command`).

    `simulator_url` is set while the simulator stands in for want of an account.
    """

    holder: str
    pid: int
    database_url: str
    valkey_url: str
    base_url: str = ""
    simulator_url: str = ""


class StateFolder:
    """One state folder. Creating the object creates the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "logs").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EngineError(
                f"The state folder {path} cannot be written ({error.strerror})."
                " Choose another with --state."
            ) from error
        self._secure()

    def lock(self) -> IO[bytes] | None:
        """Take the lock; return what holds it while open, or `None` if somebody else has it."""
        return _try_lock(self.path / "lock", fcntl.LOCK_EX)

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Ask the holder of the lock not to stop the engines while the block runs."""
        with _open_lock(self.path / "users") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            yield

    def wait_for_users(self, seconds: float) -> bool:
        """Wait for at most `seconds` until no other command uses our engines; tell if so."""

        def nobody_left() -> bool:
            held = _try_lock(self.path / "users", fcntl.LOCK_EX)
            if held is not None:
                held.close()
            return held is not None

        return wait_until(nobody_left, seconds)

    def publish(self, addresses: Addresses) -> None:
        """Tell other commands where the engines are."""
        _write_private(self.path / "addresses", json.dumps(asdict(addresses)))

    def unpublish(self) -> None:
        """Take back what `publish` told; the holder does it before it stops the engines."""
        (self.path / "addresses").unlink(missing_ok=True)

    def addresses(self) -> Addresses | None:
        """Return what the holder of the lock published, `None` while it has not yet."""
        try:
            return Addresses(**json.loads((self.path / "addresses").read_text()))
        except FileNotFoundError:
            return None

    def wait_for_addresses(self, seconds: float) -> Addresses | None:
        """Return what the holder of the lock publishes, waiting for it; `None` if it does not."""
        found: list[Addresses] = []

        def published() -> bool:
            addresses = self.addresses()
            found.extend([addresses] if addresses else [])
            return bool(found)

        wait_until(published, seconds)
        return found[0] if found else None

    def secret_key(self) -> str:
        """Return Django's secret key of this state, made at the first call."""
        return self._kept("secret_key", secrets.token_urlsafe(50))

    def credential_key(self) -> str:
        """Return the key that seals this state's upstream credentials, made at the first call."""
        return self._kept(
            "credential_key", base64.urlsafe_b64encode(secrets.token_bytes()).decode()
        )

    def engine_folder(self, name: str, user: EngineUser) -> Path:
        """Return the data folder of an engine, 0700 and owned by `user`.

        When root's state is where `user` cannot go, such as below /root, the data lives under
        /var/lib/claudcode and a link to it stays here.
        """
        folder = self.path / name
        if not folder.exists() and not user.reaches(self.path):
            away = AWAY / f"{self.path.name}-{secrets.token_hex(4)}" / name
            away.mkdir(parents=True)
            for parent in (AWAY, away.parent):
                parent.chmod(0o711)  # Whatever the umask is: the user must pass through.
            folder.symlink_to(away)
        folder.mkdir(mode=0o700, exist_ok=True)
        real = folder.resolve()
        if user.drops and real.stat().st_uid != user.uid:
            user.own(real)
        real.chmod(0o700)
        if not user.reaches(real):
            raise EngineError(
                f"{real} cannot be reached by user '{user.name}', as whom root runs Postgres."
                " Choose a folder that it can reach with --state, such as --state /var/lib/NAME."
            )
        return real

    @contextlib.contextmanager
    def socket_folder(self, user: EngineUser) -> Iterator[Path]:
        """Make the folder of the sockets, which `user` alone (and root) can enter."""
        run = self.path / "run"
        short = len(os.fsencode(run)) <= SOCKET_FOLDER_BYTES_MAX and PLAIN_PATH.fullmatch(str(run))
        _remove_sockets(run)
        if short and user.reaches(self.path):
            run.mkdir(mode=0o700)
            folder = run
        else:
            folder = Path(tempfile.mkdtemp(prefix="claudcode-", dir=TEMPORARY))
            run.symlink_to(folder)  # So that the next start can remove what a kill -9 left.
        user.own(folder)
        try:
            yield folder
        finally:
            _remove_sockets(run)

    def _kept(self, name: str, fresh: str) -> str:
        path = self.path / name
        if not path.exists():
            _write_private(path, fresh)
        return path.read_text().strip()

    def _secure(self) -> None:
        # Root's engines run as another user, who must pass through; nobody may list it.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        found = self.path.stat()
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
            self.path.chmod(mode)


def hold_data_lock(folder: Path) -> IO[bytes]:
    """Lock an engine's data folder and return the lock, for the engine itself to inherit.

    It is freed when the last process of the engine is gone, so two never share the data, even
    when the first is still on its way out. Raises `StateBusy` when it stays.
    """
    held: list[IO[bytes]] = []

    def taken() -> bool:
        lock = _try_lock(folder.with_name(f"{folder.name}.lock"), fcntl.LOCK_EX)
        held.extend([lock] if lock else [])
        return lock is not None

    if not wait_until(taken, seconds=30.0):
        raise StateBusy(f"Another process still uses the data in {folder}.")
    return held[0]


def _open_lock(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "r+b")


def _try_lock(path: Path, operation: int) -> IO[bytes] | None:
    lock = _open_lock(path)
    try:
        fcntl.flock(lock, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _write_private(path: Path, content: str) -> None:
    # Whole or not at all: a reader must never see half of it, nor a crash leave half.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
        draft.write(content)
    Path(draft.name).replace(path)


def _remove_sockets(run: Path) -> None:
    if run.is_symlink():
        # Only ever what `socket_folder` made: the link cannot be trusted with more.
        target = run.readlink()
        if target.parent == TEMPORARY and target.name.startswith("claudcode-"):
            shutil.rmtree(target, ignore_errors=True)
        run.unlink()
    elif run.exists():
        shutil.rmtree(run)
