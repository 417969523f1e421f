"""The clients that people have: official SDKs in Python and TypeScript, today's and older ones."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claudcode import env
from tests.acceptance.clients.sdk import Sdk, SdkClient, SdkProcess
from tests.acceptance.developer import Developer
from tests.acceptance.gateway_process import GatewayProcess

PYTHON_PROGRAM = Path(__file__).parent / "python_sdk.py"
OLD_PYTHON_SDK = Path(sys.prefix) / "old-sdk"
NODE = env.ROOT / "tests/acceptance/node"
TODAY, OLD = "@anthropic-ai/sdk", "anthropic-sdk-0.74"


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js, with the packages that the tests use."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("There is no Node.js here.")
    if not (NODE / "node_modules").is_dir():
        pytest.skip(f"npm install --prefix {NODE.relative_to(env.ROOT)} has not been run.")
    return program


@pytest.fixture(scope="session")
def node_folder(node: str) -> Path:
    """Where Node.js finds the packages."""
    return NODE


@pytest.fixture(scope="session")
def today_python(tmp_path_factory) -> Iterator[SdkProcess]:
    with SdkProcess([sys.executable, str(PYTHON_PROGRAM)], tmp_path_factory.mktemp("home")) as sdk:
        assert sdk.version == "2.12.0"
        yield sdk


@pytest.fixture(scope="session")
def old_python(tmp_path_factory) -> Iterator[SdkProcess]:
    """The last one before API version 2026-10-21, which `make test` installs."""
    if not OLD_PYTHON_SDK.is_dir():
        pytest.skip("`make test` has not installed the old SDK.")
    command, home = [sys.executable, str(PYTHON_PROGRAM)], tmp_path_factory.mktemp("home")
    with SdkProcess(command, home, PYTHONPATH=str(OLD_PYTHON_SDK)) as sdk:
        assert sdk.version == "0.79.0"
        yield sdk


@pytest.fixture(scope="session")
def today_node(node, tmp_path_factory) -> Iterator[SdkProcess]:
    with _node_sdk(node, TODAY, tmp_path_factory.mktemp("home")) as sdk:
        assert sdk.version == "1.12.0"
        yield sdk


@pytest.fixture(scope="session")
def old_node(node, tmp_path_factory) -> Iterator[SdkProcess]:
    with _node_sdk(node, OLD, tmp_path_factory.mktemp("home")) as sdk:
        assert sdk.version == "0.74.0"
        yield sdk


@pytest.fixture(
    params=[
        pytest.param(("today_python", False), id="python"),
        pytest.param(("today_python", True), id="python-async"),
        pytest.param(("old_python", False), id="old-python"),
        pytest.param(("old_python", True), id="old-python-async"),
        pytest.param(("today_node", False), id="node", marks=pytest.mark.node),
        pytest.param(("old_node", False), id="old-node", marks=pytest.mark.node),
    ]
)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """Each SDK in each way to use it."""
    process, asynchronous = request.param
    return Sdk(request.getfixturevalue(process), asynchronous)


@pytest.fixture(params=["", "/v1"], ids=["root", "v1"])
def base_url(request: pytest.FixtureRequest, gateway: GatewayProcess) -> str:
    """The base URL as the SDKs mean it, and as the documentation gives it."""
    return gateway.url + str(request.param)


@pytest.fixture
def client(sdk: Sdk, gateway: GatewayProcess, developer: Developer) -> SdkClient:
    """A client of each SDK, with a key that no limit stops."""
    return sdk.client(gateway.url, developer.secret)


def _node_sdk(node: str, package: str, home: Path) -> SdkProcess:
    return SdkProcess([node, str(NODE / "sdk.mjs"), package], home)
