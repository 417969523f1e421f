"""What axe-core finds against WCAG 2.2 AA on the pages, on a desk, light and dark."""

import json

import pytest

from claudcode import env
from tests.browser.conftest import LOOKS
from tests.factories import a_key

pytestmark = [pytest.mark.browser, pytest.mark.node]
AXE = env.ROOT / "tests/acceptance/node/node_modules/axe-core/axe.min.js"
PAGES = [
    "/",
    "/docs/sdk-setup",
    "/docs/models-and-prices",
    "/try",
    "/status",
    "/admin/",
    "/admin/keys/apikey/",
    "/admin/keys/team/",
    "/admin/usage/ledgerentry/",
]
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="module")
def axe() -> str:
    """The engine, which the page runs as its own."""
    if not AXE.is_file():
        pytest.skip("npm install --prefix tests/acceptance/node has not been run.")
    return AXE.read_text()


@pytest.mark.parametrize("page", LOOKS[:2], indirect=True)
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(page, axe, path):
    a_key()
    assert page.goto(path).ok
    page.evaluate(axe)
    run = f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}})"
    found = page.evaluate(f"{run}.then(({{violations}}) => violations)")
    assert [summary(violation) for violation in found] == []


def summary(violation: dict) -> str:
    shown = "; ".join(node["html"][:160] for node in violation["nodes"][:4])
    return f"{violation['id']} ({len(violation['nodes'])}): {shown}"
