"""What axe-core finds against WCAG 2.2 AA on developers' pages, on a desk, light and dark.

The console's are in `test_console_accessible.py`.
"""

import json

import pytest

from claudcode import env
from tests.browser.conftest import LOOKS

pytestmark = [pytest.mark.browser, pytest.mark.node]
AXE = env.ROOT / "tests/acceptance/node/node_modules/axe-core/axe.min.js"
PAGES = [
    "/",
    "/docs/sdk-setup",
    "/docs/models-and-prices",
    "/try",
    "/status",
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
    assert page.goto(path).ok
    page.evaluate(axe)
    run = f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}})"
    found = page.evaluate(f"{run}.then(({{violations}}) => violations)")
    assert [summary(violation) for violation in found] == []


@pytest.mark.parametrize("page", LOOKS[:1], indirect=True)
def test_the_description_of_the_api_is_as_dark_as_the_system(page):
    page.goto("/api/v1/docs")
    page.locator(".opblock").first.wait_for()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{ground} !== '{light}'")
    assert page.evaluate(ground) == "rgb(28, 32, 34)"


def summary(violation: dict) -> str:
    shown = "; ".join(node["html"][:160] for node in violation["nodes"][:4])
    return f"{violation['id']} ({len(violation['nodes'])}): {shown}"
