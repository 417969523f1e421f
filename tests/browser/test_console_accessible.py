"""What axe-core finds on every page of the console: lists, rows, forms; wide and narrow, light and
dark. Each page is loaded once and turned over, for loading is what takes the time.
"""

from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.urls import reverse
from django.utils import timezone

from keys.invalidation import EVERYTHING, publish
from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.models import AlertDelivery, AlertTarget
from operators.alerts.raising import alerts_raise
from operators.alerts.services import target_add
from proxy.models import UpstreamAccount
from proxy.services import upstream_add
from tests.browser.conftest import LOOKS
from tests.browser.test_accessibility import TAGS, axe  # noqa: F401
from tests.factories import a_budget, a_key, a_plan, a_team
from tests.integration.operators.matrix import PAGES
from tests.management import ApiClient
from usage import ledger
from usage.models import DeadLetter
from webtools.models import TavilyAccount
from webtools.services import tavily_account_ensure, tool_rule_set

pytestmark = [pytest.mark.browser, pytest.mark.node]
# High, so that the bar with the buttons lies on nothing.
WIDE, NARROW = {"width": 1440, "height": 3000}, {"width": 360, "height": 3000}
STATES = {"wide and light": (WIDE, False), "narrow and dark": (NARROW, True)}
# Unfold asks the system once, at the load; and colours that fade would be read midway.
TURN = "(dark) => document.documentElement.classList.toggle('dark', dark)"
STILL = "* { transition: none !important; animation: none !important; }"
# Rows of these have pages of their own making, or none to add one by.
OWN_LOOKS = (
    "keys.apikey",
    "keys.maintenance",
    "keys.operatortoken",
    "usage.ledgerentry",
    "webtools.tavilyaccount",
)
# Nobody asks what passes, so it is not noted, which would take a fifth of the time more.
RUN = """async (tags) => (await axe.run(
    document, { runOnly: tags, resultTypes: ["violations"], elementRef: false })).violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id} (${nodes.length}): ${nodes[0].html.slice(0, 200)}`)"""


@pytest.fixture
def rows(a_developer, settings) -> Iterator[None]:
    """A row of every table; what the gateway would go by is taken away again."""
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    assert a_developer().ask().status_code == 200
    ledger.drain()
    team, plan = a_team(), a_plan()
    a_budget(a_key(team=team, plan=plan))
    tool_rule_set(holder=plan, changes={}, acting_user=None)
    tavily_account_ensure()
    upstream_add(name="second", base_url="http://127.0.0.1:9", enabled=False, acting_user=None)
    hook = {"channel": "webhook", "address": "https://93.184.216.34/a"}
    target_add(name="hook", **hook, acting_user=None)
    finding = Finding(Kind.DRAIN, Subject.GATEWAY, 0, "", None, "drain", EPOCH, "It is behind.")
    alerts_raise([finding], timezone.now())
    DeadLetter.objects.create(
        shard=0, stream_id="1-1", fields={}, error="", found_at=timezone.now()
    )
    ApiClient()
    yield
    for model in (UpstreamAccount, TavilyAccount, AlertDelivery, AlertTarget, DeadLetter):
        model.objects.all().delete()
    publish(EVERYTHING)


def addresses(table: str) -> list[str]:
    """The pages of a table, each form once: what is changed looks as what is added does."""
    row, own = apps.get_model(table).objects.first(), PAGES[table]
    shown = [page for page in ("changelist", "add") if own[page]]
    shown += ["change"] if table in OWN_LOOKS else []
    name = f"admin:{table.replace('.', '_')}_"
    return [reverse(name + page, args=[row.pk] if page == "change" else []) for page in shown]


@pytest.mark.parametrize("page", LOOKS[:1], indirect=True)
@pytest.mark.usefixtures("rows")
def test_axe_finds_nothing_serious_on_any_page_of_the_console(page, axe):  # noqa: F811
    found = {}
    for address in ["/admin/", *(each for table in PAGES for each in addresses(table))]:
        page.set_viewport_size(WIDE)
        assert page.goto(address).ok
        page.evaluate(axe)
        page.add_style_tag(content=STILL)
        for state, (viewport, dark) in STATES.items():
            page.set_viewport_size(viewport)
            assert page.evaluate(TURN, dark) is dark
            found[f"{address} {state}"] = page.evaluate(RUN, TAGS)
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize("page", LOOKS[:1], indirect=True)
def test_a_choice_with_a_search_says_its_name(page, installation):
    page.goto(reverse("admin:keys_apikey_add"))
    choice = page.get_by_role("combobox", name="Team", exact=True)
    choice.click()
    page.get_by_role("searchbox", name="Search").wait_for()
