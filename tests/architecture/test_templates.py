"""Templates obey the content security policy: no script but by file or nonce, no handlers."""

import re

import pytest

from claudcode import env

TEMPLATES = [
    path
    for path in sorted(env.ROOT.glob("**/templates/**/*.html"))
    if not {".venv", "node_modules"} & set(path.parts)
]
WITHOUT_NONCE = re.compile(r"<script(?![^>]*\b(?:nonce|src)=)")
HANDLER = re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_script_stands_in_a_page_without_the_nonce(path):
    text = re.sub(r'type="application/json"', 'src=""', path.read_text())
    assert not WITHOUT_NONCE.search(text), 'Write <script nonce="{{ request.csp_nonce }}">.'


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_element_has_a_handler(path):
    assert not HANDLER.search(path.read_text()), "Listen in a script instead."
