"""A real Chromium, the system's own, on a running gateway: desktop and phone, light and dark."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.acceptance.conftest import (  # noqa: F401  Fixtures: what the browser talks to.
    a_developer,
    gateway,
    http,
    installation,
    shared_gateway,
    shared_installation,
    shared_simulator,
    simulator,
)
from tests.factories import an_operator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LOOKS = [
    pytest.param((viewport, scheme), id=f"{name} {scheme}")
    for name, viewport in (("desktop", DESKTOP), ("phone", PHONE))
    for scheme in ("light", "dark")
]
# What goes wrong on a phone or in the dark goes wrong on a phone in the dark.
OPPOSITES = [LOOKS[0], LOOKS[-1]]
# A busy machine is slow; a person would have given up.
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser. Only for a module: while it is open, no coroutine can run in this thread."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: sudo apt install chromium")
    from playwright.sync_api import sync_playwright

    # Playwright's loop is not ours: what Django takes for a coroutine is a plain test.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def operator(installation: Any) -> User:  # noqa: F811
    """Who sits before the browser."""
    return an_operator()


@pytest.fixture(params=OPPOSITES)
def page(request: Any, chromium: Any, gateway: Any, operator: User) -> Iterator[Any]:  # noqa: F811
    """A page of the console, signed in; afterwards no script has failed, and nothing hangs out."""
    viewport, scheme = request.param
    context = chromium.new_context(
        base_url=gateway.url, viewport=viewport, color_scheme=scheme, accept_downloads=True
    )
    context.set_default_timeout(PATIENCE_MS)
    client = Client()
    client.force_login(operator)
    session = client.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": session, "url": gateway.url}])
    found = context.new_page()
    errors: list[str] = []
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    too_wide = found.evaluate("document.documentElement.scrollWidth - innerWidth")
    context.close()
    assert errors == []
    assert too_wide <= 0
