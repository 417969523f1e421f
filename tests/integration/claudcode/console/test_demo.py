"""Demo data: consistent, marked, kept away from real keys, and gone when it is removed."""

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from claudcode.console.demo_exchanges import AGENT
from keys.models import ApiKey, AuditEvent, Team
from tests.factories import a_key
from usage.core.price import cost_nanousd
from usage.core.tokens import TokenUsage
from usage.models import HourlyRollup, LedgerEntry
from usage.prices import load_price_book
from usage.verify import verify

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


def demo(**options):
    call_command("demo_data", **{"keys": 40, "rows": 2_000} | options)


def test_the_books_agree():
    demo()
    report = verify()
    assert (report.entries, report.differences) == (2_000, ())
    assert report.rollups > 500


def test_all_of_it_is_marked():
    demo()
    assert set(LedgerEntry.objects.values_list("client_agent", flat=True)) == {AGENT}
    names = ApiKey.objects.values_list("name", flat=True).union(Team.objects.values_list("name"))
    assert all(name.startswith("Demo ") for name in names)
    assert Team.objects.count() == 5


def test_no_demo_key_or_owner_can_come_in():
    demo()
    # A digest is 64 hexadecimal characters, so no secret there is opens such a key.
    assert not ApiKey.objects.exclude(digest__startswith="demo:").exists()
    assert not User.objects.filter(username__startswith="demo-", is_active=True).exists()


def test_costs_are_what_the_price_list_says():
    demo(rows=300)
    book = load_price_book()
    entry = LedgerEntry.objects.filter(cache="miss", cache_read_input_tokens__gt=0)[0]
    usage = TokenUsage(*(getattr(entry, name) for name in TokenUsage.__dataclass_fields__))
    at_ms = int(entry.admitted_at.timestamp() * 1000)
    price = book.price(entry.model_answered, usage.prompt_tokens, at_ms)
    assert entry.cost_nanousd == cost_nanousd(usage, price)


def test_real_keys_are_left_alone_unless_forced():
    a_key(name="laptop")
    with pytest.raises(CommandError, match="real keys"):
        demo()
    demo(force=True)
    call_command("demo_data", remove=True)
    assert [key.name for key in ApiKey.objects.all()] == ["laptop"]


def test_it_is_not_made_twice():
    demo(rows=10)
    with pytest.raises(CommandError, match="Remove it first"):
        demo(rows=10)


def test_removing_leaves_the_audit_trail_alone():
    demo()
    call_command("demo_data", remove=True)
    left = (ApiKey, Team, LedgerEntry, HourlyRollup)
    assert [model.objects.count() for model in left] == [0, 0, 0, 0]
    assert not User.objects.filter(username__startswith="demo-").exists()
    actions = AuditEvent.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["demo.create", "demo.remove"]
