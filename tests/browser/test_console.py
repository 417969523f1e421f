"""The commonest jobs of an operator, done as a person does them."""

import csv

import pytest
from django.urls import reverse

from keys import services
from keys.core.access import KeyStatus
from keys.core.secret import well_formed
from keys.models import ApiKey, Maintenance
from proxy.models import UpstreamAccount
from tests.browser.conftest import LOOKS
from tests.factories import a_key, a_spec
from usage import ledger

pytestmark = pytest.mark.browser

# The same script waits the same seconds, whatever the page looks like.
once = pytest.mark.parametrize("page", LOOKS[:1], indirect=True)
KEYS = reverse("admin:keys_apikey_changelist")
LEDGER = reverse("admin:usage_ledgerentry_changelist")


@pytest.fixture
def apikey(installation):
    """A key with one budget."""
    return a_key(name="laptop", budgets=[a_spec(limit=1_000)])


def page_of(apikey) -> str:
    return reverse("admin:keys_apikey_change", args=[apikey.pk])


def do(page, name: str) -> None:
    """Choose an action on a key's own page."""
    page.locator(f"a[href$='/ask/{name}/']").click()


def save(page) -> None:
    page.locator("[name=_save]").click()


def stored(apikey) -> ApiKey:
    return ApiKey.objects.get(pk=apikey.pk)


def test_issue_a_key(page, gateway):
    page.goto(reverse("admin:keys_apikey_add"))
    page.fill("[name=name]", "new laptop")
    save(page)
    secret = page.text_content("#secret")
    assert well_formed(secret)
    assert f"curl {gateway.url}/v1/messages" in page.text_content("#snippet-1")
    page.check("#stored")
    page.get_by_role("link", name="Open the key").click()
    page.get_by_text("At this moment").wait_for()
    assert secret not in page.content()


def test_find_a_key_by_its_last_four_and_disable_it(page, apikey):
    page.goto(KEYS)
    page.fill("[name=q]", apikey.last_four)
    page.press("[name=q]", "Enter")
    page.locator(f"a[href*='{page_of(apikey)}']").first.click()
    do(page, "disable")
    page.get_by_role("button", name="Disable").click()
    page.get_by_text("Keys disabled: 1.").wait_for()
    assert stored(apikey).status is KeyStatus.DISABLED


def test_raise_a_budget(page, apikey):
    page.goto(page_of(apikey))
    page.fill("[name=budgets-0-amount]", "2000")
    save(page)
    page.wait_for_url(f"**{KEYS}**")
    assert apikey.budgets.get().limit_amount == 2_000


def test_reset_a_window(page, apikey):
    page.goto(page_of(apikey))
    do(page, "reset")
    page.get_by_role("button", name="Empty budget windows").click()
    page.get_by_text("Budget windows emptied: 1.").wait_for()
    assert apikey.budgets.get().reset_at is not None


def test_purge_a_cache(page, apikey):
    page.goto(page_of(apikey))
    do(page, "purge_cache")
    page.get_by_role("button", name="Purge response cache").click()
    page.get_by_text("Response cache purged: 0 entries.").wait_for()


def test_revoke_a_key(page, apikey):
    page.goto(page_of(apikey))
    do(page, "revoke")
    page.fill("[name=typed]", "nope")
    page.get_by_role("button", name="Revoke for ever").click()
    page.get_by_text(f"Type {apikey.last_four} to confirm.").wait_for()
    page.fill("[name=typed]", apikey.last_four)
    page.get_by_role("button", name="Revoke for ever").click()
    page.get_by_text("Keys revoked: 1.").wait_for()
    assert stored(apikey).status is KeyStatus.REVOKED


def test_read_an_exchange(page, a_developer):
    developer = a_developer(rpm=None, concurrency=None)
    assert developer.ask().status_code == 200
    ledger.drain()
    page.goto(page_of(developer.apikey))
    page.locator(".cc-table a[href*='/ledgerentry/']").first.click()
    page.get_by_text("How its cost was computed").wait_for()
    assert "Price of claude" in page.content()


def test_export_the_ledger(page, a_developer):
    developer = a_developer(rpm=None, concurrency=None)
    assert developer.ask().status_code == 200
    ledger.drain()
    page.goto(f"{LEDGER}?q={developer.apikey.prefix}")
    # On a phone the link lies in a menu.
    link = page.locator("a[href*='/export/']").first
    with page.expect_download() as download:
        link.evaluate("link => { link.href = link.href + location.search; link.click() }")
    with open(download.value.path(), newline="") as exported:
        rows = list(csv.DictReader(exported))
    assert [row["apikey_id"] for row in rows] == [str(developer.apikey.pk)]


def test_add_an_upstream_account(page, simulator):
    UpstreamAccount.objects.filter(name="second").delete()
    page.goto(reverse("admin:proxy_upstreamaccount_add"))
    page.fill("[name=name]", "second")
    page.fill("[name=base_url]", simulator.url)
    save(page)
    page.wait_for_url("**/upstreamaccount/**")
    assert UpstreamAccount.objects.get(name="second").base_url == simulator.url
    UpstreamAccount.objects.filter(name="second").delete()


def test_close_the_gateway_and_open_it_again(page):
    services.maintenance_set(enabled=False, acting_user=None)
    switch = reverse("admin:keys_maintenance_change", args=[Maintenance.SINGLETON_ID])
    for closed in (True, False):
        page.goto(switch)
        page.set_checked("[name=enabled]", closed)
        with page.expect_navigation():
            save(page)
        assert Maintenance.objects.get().enabled is closed


@once
def test_the_home_reads_itself_again(page, apikey):
    page.goto(reverse("admin:index"))
    services.maintenance_set(enabled=True, acting_user=None)
    try:
        page.get_by_text("Maintenance is on").wait_for()
    finally:
        services.maintenance_set(enabled=False, acting_user=None)


@once
def test_a_key_s_page_reads_itself_again_until_it_is_paused(page, apikey):
    page.goto(page_of(apikey))
    services.apikey_disable(apikey=apikey, acting_user=None)
    page.locator("[data-refresh]").get_by_text("Disabled").wait_for()
    dot = page.locator(".cc-live")
    assert dot.text_content() == "live"
    dot.click()
    page.get_by_text("paused; figures are of").wait_for()
