"""The packages that the gateway serves: what is asked for by name, and nothing else."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client, override_settings

from packages import build

WHEEL = "claudcode_mcp_server-1.0.1-py3-none-any.whl"
TGZ = "claudcode-mcp-server-1.0.1.tgz"
INDEX_JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """An installation whose packages are built."""
    root = tmp_path_factory.mktemp("installation")
    build.build(root / "packages" / "built")
    (root / "packages" / "secret").write_text("not for strangers")
    return root


@pytest.fixture
def client(built):
    with override_settings(BASE_DIR=built):
        yield Client()


def content(built: Path, name: str) -> bytes:
    return (built / "packages" / "built" / name).read_bytes()


def test_an_archive_is_answered_whole(client, built):
    answer = client.get(f"/packages/{TGZ}")
    assert answer.content == content(built, TGZ)
    assert answer["Content-Type"] == "application/gzip"
    assert "no-cache" in answer["Cache-Control"]


def test_an_archive_that_is_known_already_is_not_sent_again(client):
    etag = client.get(f"/packages/{WHEEL}")["ETag"]
    again = client.get(f"/packages/{WHEEL}", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


def test_an_archive_under_its_hash_may_be_kept_for_good(client, built):
    sha256 = hashlib.sha256(content(built, WHEEL)).hexdigest()
    answer = client.get(f"/packages/{sha256}/{WHEEL}")
    assert answer.content == content(built, WHEEL)
    assert "immutable" in answer["Cache-Control"]
    assert client.get(f"/packages/{'0' * 64}/{WHEEL}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "secret",
        "../secret",
        "..%2fsecret",
        "%2e%2e/secret",
        "built/../secret",
        "no.whl",
        "simple/no/",
    ],
)
def test_nothing_else_is_answered(client, path):
    assert client.get(f"/packages/{path}").status_code == 404


def test_the_index_leads_to_the_archive_by_its_hash(client, built):
    listing = client.get("/packages/simple/").content.decode()
    (project,) = re.findall(r'href="([^"]+)"', listing)
    page = client.get(project).content.decode()
    ((address, sha256),) = re.findall(r'href="([^"#]+)#sha256=(\w{64})"', page)
    assert sha256 == hashlib.sha256(content(built, WHEEL)).hexdigest()
    assert client.get(address).content == content(built, WHEEL)
    assert 'data-requires-python="&gt;=3.11"' in page


def test_the_index_is_json_for_those_who_ask_for_it(client, built):
    asked = {"Accept": f"{INDEX_JSON}, text/html;q=0.1"}
    projects = client.get("/packages/simple/", headers=asked)
    assert projects["Content-Type"] == INDEX_JSON
    assert projects.json()["projects"] == [{"name": "claudcode-mcp-server"}]
    (file,) = client.get("/packages/simple/claudcode_MCP.server/", headers=asked).json()["files"]
    assert file["hashes"] == {"sha256": hashlib.sha256(content(built, WHEEL)).hexdigest()}
    assert client.get(file["url"]).content == content(built, WHEEL)


def test_an_archive_that_is_built_anew_is_served_at_once(client, built):
    client.get(f"/packages/{TGZ}")
    archive = built / "packages" / "built" / TGZ
    before = archive.read_bytes()
    archive.unlink()
    archive.write_bytes(b"another")
    assert client.get(f"/packages/{TGZ}").content == b"another"
    archive.write_bytes(before)


def test_nothing_is_there_before_it_is_built(tmp_path):
    with override_settings(BASE_DIR=tmp_path):
        assert Client().get(f"/packages/{TGZ}").status_code == 404


# --- Building -----------------------------------------------------------------------------------


def test_two_builds_are_byte_for_byte_the_same(built, tmp_path):
    """The second from a copy made later, in another folder, under another umask."""
    sources = tmp_path / "packages"
    shutil.copytree(build.HERE, sources, ignore=shutil.ignore_patterns("built", "node_modules"))
    for path in sources.rglob("*"):
        path.touch()
        path.chmod(0o700 if path.is_dir() else 0o600)
    moved = build_elsewhere(sources, tmp_path / "out")
    assert moved == {
        path.name: path.read_bytes() for path in (built / "packages" / "built").iterdir()
    }


def build_elsewhere(sources: Path, out: Path) -> dict[str, bytes]:
    program = f"import build, pathlib; build.build(pathlib.Path({str(out)!r}))"
    subprocess.run([sys.executable, "-c", program], cwd=sources, check=True, umask=0o077)
    return {path.name: path.read_bytes() for path in out.iterdir()}
