"""New machines: an empty home, a shell, and `setup.sh` as the gateway serves it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.clients.conftest import node, node_folder  # noqa: F401 (fixtures)
from tests.acceptance.developer import Developer
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.portal.machine import Machine, Terminal

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}
# What the script asks of a system, besides one of Python and Node.js.
TOOLS = ("sh", "curl", "mktemp", "sed", "tr", "cmp", "grep", "cat", "chmod", "mv", "rm", "mkdir")


@pytest.fixture(scope="session")
def script(shared_gateway: GatewayProcess, http: httpx.Client) -> str:
    """The script for this gateway."""
    answer = http.get(f"{shared_gateway.url}/setup.sh")
    assert answer.status_code == 200
    return answer.text


@pytest.fixture
def machine(script: str, tmp_path: Path) -> Machine:
    """A machine whose shell is `sh`."""
    return Machine(script, tmp_path, ["sh"])


@pytest.fixture(params=SHELLS)
def any_machine(request: pytest.FixtureRequest, script: str, tmp_path: Path) -> Machine:
    """A machine with each of the shells."""
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"There is no {command[0]} here.")
    return Machine(script, tmp_path, command)


@pytest.fixture
def tools(tmp_path: Path) -> Callable[..., str]:
    """A search path with the tools of a bare system and nothing else but what is named."""
    programs = {"python3": sys.executable, "node": shutil.which("node")}

    def make(*names: str) -> str:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in (*TOOLS, *names):
            program = programs.get(name) or shutil.which(name)
            if program is None:
                pytest.skip(f"There is no {name} here.")
            (folder / name).write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
            (folder / name).chmod(0o755)
        return str(folder)

    return make


@pytest.fixture
def terminal(any_machine: Machine) -> Iterator[Terminal]:
    """`setup.sh` on a terminal, under each of the shells."""
    with any_machine.terminal() as terminal:
        yield terminal


@pytest.fixture
def newcomer(a_developer: Callable[..., Developer]) -> Developer:
    """Someone with a key as they are issued."""
    return a_developer()
