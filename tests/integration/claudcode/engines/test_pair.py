"""The embedded engines as they are started for real: killed, moved, run by root or anyone."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
import redis

from claudcode import env
from claudcode.engines import pair, postgres
from claudcode.engines.children import EngineError, wait_until
from claudcode.engines.state import StateFolder

# Written on one line each, for a process that is to be killed or to be somebody else.
RUN = textwrap.dedent("""
    import os, pwd, sys, encodings.idna
    from pathlib import Path
    import psycopg, redis
    from claudcode.engines import pair
    from claudcode.engines.state import StateFolder

    path, user = Path(sys.argv[1]), sys.argv[2]
    if user:
        uid = pwd.getpwnam(user).pw_uid
        os.setgroups([]); os.setgid(pwd.getpwnam(user).pw_gid); os.setuid(uid)
    state = StateFolder(path)
    with state.lock(), pair.running(state, with_postgres=True, with_valkey=True) as engines:
        psycopg.connect(engines.postgres.url).close()
        redis.Redis.from_url(engines.valkey.url).ping()
        print(engines.postgres.pid, engines.valkey.pid, flush=True)
        sys.stdin.read()
""")


def both(state: StateFolder, postgres_bin: str = "") -> AbstractContextManager[pair.Pair]:
    return pair.running(state, with_postgres=True, with_valkey=True, postgres_bin=postgres_bin)


def write(engines: pair.Pair) -> None:
    with psycopg.connect(engines.postgres.url) as connection:
        connection.execute("CREATE TABLE written AS SELECT generate_series(1, 1000) AS n")
    with redis.Redis.from_url(engines.valkey.url) as client:
        client.set("written", 1000)


def read(engines: pair.Pair) -> tuple[int, int]:
    with psycopg.connect(engines.postgres.url) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM written").fetchone()
    with redis.Redis.from_url(engines.valkey.url) as client:
        return rows, int(client.get("written"))


def start_elsewhere(path: Path, user: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), user],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=env.ROOT,
    )


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_second_start_finds_the_data(state):
    with both(state) as engines:
        write(engines)
    with both(state) as engines:
        assert read(engines) == (1000, 1000)


def test_data_is_whole_after_both_engines_are_killed(state):
    with both(state) as engines:
        write(engines)
        os.kill(engines.postgres.pid, signal.SIGKILL)
        os.kill(engines.valkey.pid, signal.SIGKILL)
    with both(state) as engines:
        assert read(engines) == (1000, 1000)


def test_an_engine_that_was_killed_is_named(state):
    with both(state) as engines:
        assert engines.ended() is None
        os.kill(engines.valkey.pid, signal.SIGKILL)
        assert wait_until(lambda: engines.ended() == "Valkey", seconds=5)


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells a child of such a death.")
def test_engines_end_with_a_starter_that_is_killed_and_start_again_at_once(state):
    with start_elsewhere(state.path) as starter:
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        starter.kill()
    with both(state) as engines:
        write(engines)
    assert not any(is_alive(pid) for pid in pids)


def test_one_engine_alone(state):
    with pair.running(state, with_postgres=False, with_valkey=True) as engines:
        assert engines.postgres is None
        assert redis.Redis.from_url(engines.valkey.url).ping()


def test_a_state_folder_with_a_long_path_has_its_sockets_elsewhere(folder):
    state = StateFolder(folder / ("long" * 25) / "with a blank")
    with both(state) as engines:
        write(engines)
        sockets = (state.path / "run").resolve()
        assert sockets.parent == Path("/tmp").resolve()
    assert not sockets.exists()


def test_nobody_else_can_reach_the_sockets(state):
    with both(state):
        run = state.path / "run"
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        assert [p.name for p in run.iterdir() if stat.S_IMODE(p.stat().st_mode) & 0o077] == []


def test_there_is_no_tcp_port(state):
    with both(state) as engines:
        with psycopg.connect(engines.postgres.url) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        with redis.Redis.from_url(engines.valkey.url) as client:
            assert client.config_get("port") == {"port": "0"}


def test_an_ordinary_user_runs_them_too(folder):
    user = "nobody" if os.geteuid() == 0 else ""
    folder.chmod(0o777)
    with start_elsewhere(folder / "state", user) as starter:
        assert len(starter.stdout.readline().split()) == 2
        starter.stdin.close()
    assert starter.returncode == 0


def test_the_wheel_runs_where_there_is_no_postgres(state):
    wheel = postgres.folders()[-1]
    with both(state, str(wheel)) as engines, psycopg.connect(engines.postgres.url) as connection:
        assert wheel.parent.name == "pginstall"
        (locale,) = connection.execute(
            "SELECT datlocale FROM pg_database WHERE datname = 'claudcode'"
        ).fetchone()
    assert locale == "C.UTF-8"


def test_data_of_another_version_is_refused_in_a_sentence(state):
    with both(state):
        pass
    (state.path / "postgres" / "data" / "PG_VERSION").write_text("13\n")
    with pytest.raises(EngineError, match="was made by Postgres 13"), both(state):
        pass


def test_a_folder_without_postgres_is_refused_in_a_sentence(state, folder):
    with (
        pytest.raises(EngineError, match=f"No Postgres 14 or later in {folder}"),
        both(state, str(folder)),
    ):
        pass
