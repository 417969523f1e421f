"""The pages for developers in a browser: samples in tabs, search, a key tried, every look."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from portal.library import pages
from tests.browser.conftest import DESKTOP, PATIENCE_MS

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 740}
SCREENS = [*(page.path for page in pages()), "/try", "/status"]


@pytest.fixture
def a_page(chromium: Any, gateway: Any) -> Iterator[Any]:
    """Opens pages for a stranger; none of them may say anything on the console."""
    contexts, said = [], []

    def open_page(viewport: dict[str, int] = DESKTOP, **look: Any) -> Any:
        context = chromium.new_context(base_url=gateway.url, viewport=viewport, **look)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture
def page(a_page: Any) -> Any:
    """One page on a desktop."""
    return a_page(permissions=["clipboard-read", "clipboard-write"])


def shown_tabs(page: Any) -> set[str]:
    chosen = page.locator("[role=tab][aria-selected=true]").all_text_contents()
    return {name.strip() for name in chosen}


# --- Documentation ------------------------------------------------------------------------------


def test_a_language_is_chosen_for_all_samples_and_remembered(page):
    page.goto("/docs/sdk-setup")
    page.get_by_role("tab", name="TypeScript").nth(1).click()
    assert shown_tabs(page) == {"TypeScript"}
    page.goto("/docs/prompt-caching")
    assert shown_tabs(page) == {"TypeScript"}
    assert page.locator(".tab:visible code").first.text_content().startswith("import Anthropic")


def test_arrows_move_between_languages(page):
    page.goto("/")
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    assert shown_tabs(page) == {"Python"}
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert shown_tabs(page) == {"Claude Code"}


def test_without_scripts_every_sample_stands_under_its_language(a_page):
    page = a_page(java_script_enabled=False)
    page.goto("/")
    names = page.locator(".tab-name:visible").all_text_contents()
    assert names == ["curl", "Python", "TypeScript", "PowerShell", "Claude Code"]
    assert page.locator(".tab pre:visible").count() == len(names)
    assert page.locator("button:visible").count() == 0
    assert page.get_by_role("link", name="Error codes").is_visible()


def test_a_sample_is_copied_as_it_is_shown(page, gateway):
    page.goto("/")
    page.locator(".tab:visible").get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl {gateway.url}/v1/messages")
    assert copied == page.locator(".tab:visible code").text_content().rstrip("\n")


def test_what_is_searched_is_found_and_opened_by_keys_alone(page):
    page.goto("/")
    page.keyboard.press("/")
    page.keyboard.type("retry-after")
    page.locator(
        ".found mark", has_text=re.compile("^retry-after$", re.IGNORECASE)
    ).first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/docs/(rate-limiting|error-codes)"))


def test_a_search_for_nothing_says_so(page):
    page.goto("/")
    page.get_by_role("combobox").fill("xyzzy")
    page.get_by_text("Nothing about “xyzzy”.").wait_for()
    page.keyboard.press("Escape")
    assert page.get_by_role("listbox").is_hidden()


def test_a_heading_can_be_linked_to(page):
    page.goto("/docs/budgets-and-limits")
    page.get_by_role("heading", name="Checking your budget").hover()
    page.get_by_role("link", name="Link to “Checking your budget”").click()
    page.wait_for_url("**/docs/budgets-and-limits#checking-your-budget")
    assert page.locator("#checking-your-budget").is_visible()


def test_the_theme_is_switched_and_remembered(page):
    page.goto("/")
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    switch = page.get_by_role("button", name="Theme: system")
    switch.click()
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(color) != light
    page.goto("/status")
    assert page.get_by_role("button", name="Theme: dark").is_visible()
    assert page.evaluate(color) != light


def test_paper_has_every_language_and_no_menu(page):
    page.goto("/")
    page.emulate_media(media="print")
    assert page.locator(".tab pre:visible").count() == 5
    assert page.get_by_role("navigation", name="Main").is_hidden()


# --- Every screen -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_fits_a_phone(a_page, scheme):
    page = a_page(viewport=PHONE, color_scheme=scheme)
    wide = []
    for path in SCREENS:
        page.goto(path)
        too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        wide += [path] if too_wide > 0 else []
        assert page.locator("h1").count() == 1
    assert wide == []


def test_the_skip_link_leads_to_the_content(page):
    page.goto("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


# --- Try it -------------------------------------------------------------------------------------


@pytest.fixture
def developer(a_developer: Any) -> Any:
    """Who has a key."""
    return a_developer()


def give_key(page: Any, secret: str) -> None:
    page.goto("/try")
    page.get_by_label("API key").fill(secret)
    page.get_by_label("API key").press("Tab")


def value_of(page: Any, header: str) -> str:
    return str(page.locator(f"[data-header={header}] [data-value]").text_content())


def test_a_prompt_is_answered_as_it_comes_with_its_headers(page, developer, gateway):
    give_key(page, developer.secret)
    page.locator("select[name=model]:enabled").select_option("claude-haiku-4-5")
    prompt = '[[sim:say="It\'s a fine day"]]'
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Done:").wait_for()
    assert page.get_by_label("Answer", exact=True).text_content() == "It's a fine day"
    assert value_of(page, "request-id").startswith("req_")
    assert value_of(page, "x-ratelimit-limit") == "60"
    assert value_of(page, "retry-after") == "–"
    curl = page.locator("[data-curl]").text_content()
    assert f"{gateway.url}/v1/messages" in curl
    assert "claude-haiku-4-5" in curl
    assert developer.secret not in page.content()


def test_an_answer_is_stopped(page, developer):
    give_key(page, developer.secret)
    page.locator("select[name=model]:enabled").wait_for()
    page.get_by_label("Prompt").fill("[[sim:tokens=4000]] [[sim:rate=20]]")
    page.get_by_label("Longest answer").fill("8000")
    page.get_by_role("button", name="Send").click()
    page.locator("[data-text]").filter(has_text=re.compile(r"\S")).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()


def test_the_key_is_kept_nowhere(page, developer):
    give_key(page, developer.secret)
    page.locator("select[name=model]:enabled").wait_for()
    stored = "JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)])"
    assert developer.secret not in page.evaluate(stored)
    assert page.context.cookies() == []
    page.goto("/status")
    page.go_back()
    assert page.get_by_label("API key").input_value() == ""


@pytest.fixture
def quiet_page(chromium: Any, gateway: Any) -> Iterator[Any]:
    """A page whose browser may complain on the console: it does so of every refused request."""
    context = chromium.new_context(base_url=gateway.url, viewport=DESKTOP)
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def test_a_wrong_key_is_told_in_words(quiet_page):
    give_key(quiet_page, "sk-cc-wrong")
    alert = quiet_page.get_by_role("alert")
    alert.filter(has_text="401").wait_for()
    assert "Check that the whole key is in the field" in alert.text_content()


def test_a_limit_is_told_in_words_with_its_headers(quiet_page, a_developer):
    give_key(quiet_page, a_developer(rpm=0).secret)
    quiet_page.locator("select[name=model]:enabled").wait_for()
    quiet_page.get_by_role("button", name="Send").click()
    quiet_page.get_by_role("alert").filter(has_text="429").wait_for()
    assert value_of(quiet_page, "x-ratelimit-remaining") == "0"


# --- Status -------------------------------------------------------------------------------------


def test_the_status_says_in_words_how_it_stands(page):
    page.goto("/status")
    assert page.get_by_role("cell", name="Gateway").is_visible()
    assert page.get_by_text("Live", exact=True).is_visible()
