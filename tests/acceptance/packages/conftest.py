"""A gateway that serves its packages and runs web tools; projects that installed those packages."""

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from packages import build
from tests.acceptance.clients.conftest import node, node_folder  # noqa: F401 (fixtures)
from tests.acceptance.clients.sdk import bare_environment
from tests.acceptance.developer import Developer
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.simulator_process import SimulatorProcess

INSTALL_S_MAX = 300
RUN_S_MAX = 180


@pytest.fixture(scope="session")
def packages_gateway(
    shared_installation: Installation, shared_simulator: SimulatorProcess
) -> Iterator[GatewayProcess]:
    """A gateway of one worker, kept for the session."""
    build.build(build.BUILT)
    url = shared_simulator.url
    with GatewayProcess(shared_installation, url, TAVILY_STAND_IN_URL=url) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def gateway(packages_gateway: GatewayProcess) -> GatewayProcess:
    """The gateway."""
    return packages_gateway


@dataclass(frozen=True, slots=True)
class Project:
    """A folder in which packages of the gateway are installed, and a program that finds them."""

    folder: Path
    program: list[str]

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the program and wait until it ends."""
        return subprocess.run(
            [*self.program, *words],
            env=self.environment | variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
        )

    def prints(self, *words: str, **variables: str) -> str:
        """Return what the program prints; it has to succeed."""
        done = self.run(*words, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to run, and nothing of this machine's settings."""
        return bare_environment(self.folder)


def made_once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` fills, once for all processes that run tests side by side."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / f"project-{name}"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".made").exists():
            make(folder)
            (folder / ".made").touch()
    return folder


@pytest.fixture(scope="session")
def python_project(packages_gateway: GatewayProcess, tmp_path_factory) -> Project:
    """A new virtual environment with the package from the gateway's index, by pip.

    What the package needs is found where the tests have it.
    """
    folder = made_once(tmp_path_factory, "python", partial(install_python, packages_gateway.url))
    return Project(folder, [str(folder / "venv" / "bin" / "python"), "-c"])


def install_python(gateway_url: str, folder: Path) -> None:
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    known = folder / "venv" / "lib" / version / "site-packages" / "known.pth"
    known.write_text(sysconfig.get_path("purelib"))
    index = f"{gateway_url}/packages/simple/"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--isolated"]
    pip += ["install", "--no-deps", "--no-cache-dir", "--index-url", index]
    subprocess.run(
        [*pip, "--ignore-installed", "claudcode-mcp-server==1.0.1"],
        env=bare_environment(folder),
        check=True,
        timeout=INSTALL_S_MAX,
    )


@pytest.fixture(scope="session")
def node_project(
    packages_gateway: GatewayProcess,
    node: str,  # noqa: F811
    node_folder: Path,  # noqa: F811
    tmp_path_factory,
) -> Project:
    """A project as set-up scripts write it, with the gateway's packages by npm.

    What those need comes from where npm gets its packages, or from its cache.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("There is no npm here.")
    install = partial(install_node, npm, f"{packages_gateway.url}/packages")
    folder = made_once(tmp_path_factory, "node", install)
    return Project(folder, [node, "--input-type=module", "-e"])


def install_node(npm: str, address: str, folder: Path) -> None:
    wanted = [
        "@anthropic-ai/sdk@1.12.0",
        f"@hono/mcp@{address}/claudcode-hono-mcp-1.0.1.tgz",
        f"tavily-mcp@{address}/claudcode-tavily-mcp-1.0.1.tgz",
        f"{address}/claudcode-mcp-server-1.0.1.tgz",
    ]
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    options = ["--prefer-offline", "--no-audit", "--no-fund", "--no-package-lock"]
    subprocess.run(
        [npm, "install", *options, *wanted], cwd=folder, check=True, timeout=INSTALL_S_MAX
    )


@pytest.fixture(params=[pytest.param("python"), pytest.param("node", marks=pytest.mark.node)])
def command(request: pytest.FixtureRequest) -> list[str]:
    """The command of each package, as installed."""
    project: Project = request.getfixturevalue(f"{request.param}_project")
    scripts = {"python": "venv/bin", "node": "node_modules/.bin"}[request.param]
    return [str(project.folder / scripts / "claudcode-mcp-server")]


@pytest.fixture
def developer(a_developer: Callable[..., Developer]) -> Developer:
    """A developer whom no limit stops."""
    return a_developer(rpm=None, concurrency=None)
