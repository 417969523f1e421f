"""What `manage.py` does before Django: give the command its engines.

    DATABASE_URL and VALKEY_URL set        nothing
    the command needs no engine            nothing
    somebody runs the state's engines      their addresses
    nobody does                            start them, stop them after the command

`--state DIR` is taken out of the command line here, wherever it stands.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from claudcode import env
from claudcode.engines import pair
from claudcode.engines.children import EngineError, wait_until
from claudcode.engines.state import START_SECONDS_MAX, Addresses, StateBusy, StateFolder

# Anything else may ask the database, so it gets one.
ENGINELESS = frozenset(
    {
        *("check", "collectstatic", "compilemessages", "diffsettings", "findstatic", "help"),
        *("makemessages", "makemigrations", "settings_table", "startapp", "startproject"),
        "version",
    }
)
HELP = frozenset({"-h", "--help", "--version"})
# What a pooler in transaction mode is in the way of: sessions of pg_dump and pg_restore, locks and
# long transactions of migrations, exports and sums over the whole ledger.
AROUND_POOLERS = frozenset(
    {
        *("audit_export", "backup", "dbshell", "ledger_export", "ledger_partitions"),
        *("ledger_verify", "migrate", "restore"),
    }
)
# How long a command that is done waits for others that use the engines it started.
USERS_SECONDS_MAX = 600.0
# What names an account; whoever sets one of them means something else than the simulator.
OF_AN_ACCOUNT = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
# How long `up` waits for such a command to finish.
UP_WAIT_SECONDS_MAX = 10.0

# Between `manage.py` and the command stands Django, which passes nothing on.
_running: pair.Pair | None = None


def run(argv: Sequence[str]) -> int:
    """Run the management command of `argv`; return the exit code if it cannot be run."""
    env.use_settings()
    try:
        words = take_state(argv)
        go_around_poolers(words)
        with engines_for(words):
            execute_from_command_line(words)
    except (EngineError, ImproperlyConfigured) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def take_state(argv: Sequence[str]) -> list[str]:
    """Return `argv` without `--state DIR`, which is exported as CLAUDCODE_STATE."""
    words = list(argv)
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name != "--state":
            continue
        if not equals and index + 1 == len(words):
            raise EngineError("--state wants a folder.")
        folder = value if equals else words.pop(index + 1)
        del words[index]
        env.export("CLAUDCODE_STATE", os.path.abspath(os.path.expanduser(folder)))
        break
    return words


def go_around_poolers(words: Sequence[str]) -> None:
    """Have a command that no pooler may be between use CLAUDCODE_DATABASE_DIRECT_URL, if set."""
    if len(words) > 1 and words[1] in AROUND_POOLERS and (url := env.database_direct_url()):
        env.export("DATABASE_URL", url)


def running_engines() -> pair.Pair | None:
    """Return the engines that this process runs."""
    return _running


def missing_urls() -> tuple[bool, bool]:
    """Return whether Postgres and Valkey must be embedded, because no URL is set for them."""
    return not env.is_set("DATABASE_URL"), not env.is_set("VALKEY_URL")


def export_addresses(state: StateFolder, addresses: Addresses) -> None:
    """Give this process and its children the engines' addresses and the state's keys."""
    urls = {"DATABASE_URL": addresses.database_url, "VALKEY_URL": addresses.valkey_url}
    embedded = {name: url for name, url in urls.items() if url}
    for name, url in embedded.items():
        env.export(name, url)
    if embedded and not env.is_set("CLAUDCODE_SECRET_KEY"):
        env.export("CLAUDCODE_SECRET_KEY", state.secret_key())
    if embedded and not env.is_set("CLAUDCODE_CREDENTIAL_KEYS"):
        env.export("CLAUDCODE_CREDENTIAL_KEYS", state.credential_key())
    if addresses.simulator_url and not any(map(env.is_set, OF_AN_ACCOUNT)):
        for name, value in simulated(addresses.simulator_url).items():
            env.export(name, value)


def simulated(url: str) -> dict[str, str]:
    """Return the settings of a process for which the simulator at `url` answers."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "simulated",
        "CLAUDCODE_UPSTREAM_SIMULATED": "true",
        # For as long as there is no credential for Tavily, here or in the console.
        "CLAUDCODE_TAVILY_STAND_IN_URL": url,
    }


def publish_simulator(url: str) -> None:
    """Tell commands beside `up`, which holds the lock, that the simulator answers at `url`."""
    state = StateFolder(env.state_folder())
    if found := state.addresses():
        state.publish(replace(found, simulator_url=url))


@contextlib.contextmanager
def engines_for(words: Sequence[str]) -> Iterator[None]:
    """Have the engines that the command of `words` needs for as long as the block runs."""
    if not _needs_engines(words) or not (words[1] == "up" or any(missing_urls())):
        yield
        return
    state = StateFolder(env.state_folder())
    if words[1] == "up":
        # Even when it starts no engine: two on one folder would run one schedule twice.
        with _lock_for_up(state), _terminated_as_exit(), start(state, holder="up"):
            yield
        return
    lock = state.lock()
    if lock is None:
        with state.using():
            export_addresses(state, _published(state))
            yield
        return
    with lock, _terminated_as_exit(), start(state, holder="command"):
        yield
        state.wait_for_users(USERS_SECONDS_MAX)


@contextlib.contextmanager
def start(state: StateFolder, *, holder: str) -> Iterator[None]:
    """Run the engines that are missing, publish and export their addresses.

    The caller holds the lock of `state`.
    """
    state.unpublish()  # What a holder that was killed left behind.
    with_postgres, with_valkey = missing_urls()
    with pair.running(
        state,
        with_postgres=with_postgres,
        with_valkey=with_valkey,
        postgres_bin=env.postgres_bin(),
        valkey_bytes_max=env.valkey_memory_bytes_max(),
    ) as engines:
        addresses = Addresses(
            holder=holder,
            pid=os.getpid(),
            database_url=engines.postgres.url if engines.postgres else "",
            valkey_url=engines.valkey.url if engines.valkey else "",
        )
        export_addresses(state, addresses)
        state.publish(addresses)
        global _running
        _running = engines
        try:
            yield
        finally:
            state.unpublish()


def _needs_engines(words: Sequence[str]) -> bool:
    return len(words) > 1 and words[1] not in ENGINELESS and not HELP & set(words)


def _lock_for_up(state: StateFolder) -> IO[bytes]:
    """Take the lock, waiting for a command that holds it, but not for another `up`."""
    held: list[IO[bytes]] = []

    def decided() -> bool:
        lock = state.lock()
        held.extend([lock] if lock else [])
        holder = state.addresses()
        return lock is not None or (holder is not None and holder.holder == "up")

    wait_until(decided, UP_WAIT_SECONDS_MAX)
    if held:
        return held[0]
    holder = state.addresses()
    who = f"`manage.py {holder.holder}` (process {holder.pid})" if holder else "another command"
    raise StateBusy(
        f"{state.path} is in use by {who}. Stop that first, or choose another folder with --state."
    )


def _published(state: StateFolder) -> Addresses:
    found = state.wait_for_addresses(START_SECONDS_MAX)
    if found is None:
        raise EngineError(f"The engines of {state.path} are held by a process that is not ready.")
    return found


@contextlib.contextmanager
def _terminated_as_exit() -> Iterator[None]:
    # Without this they would end us with the engines still to be stopped.
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGHUP)}
    for signum, handler in before.items():
        if handler != signal.SIG_IGN:  # As under nohup.
            signal.signal(signum, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
