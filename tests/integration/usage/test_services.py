import datetime as dt

import pytest
from django.core.exceptions import ValidationError

from keys.invalidation import CHANNEL
from keys.models import AuditEvent, ClaudeModel
from tests.factories import an_operator
from usage.core.price import Price as CorePrice
from usage.models import Price
from usage.prices import load_price_book
from usage.services import price_set

pytestmark = pytest.mark.django_db


def rates(**fields):
    defaults = {
        "model": ClaudeModel.objects.get(model_id="claude-haiku-4-5"),
        "starts_at": dt.datetime(2027, 1, 1, tzinfo=dt.UTC),
        "input_nanousd": 2_000,
        "output_nanousd": 6_000,
        "cache_creation_nanousd": 2_500,
        "cache_creation_1h_nanousd": 4_000,
        "cache_read_nanousd": 200,
    }
    return defaults | fields


@pytest.fixture
def announced(valkey):
    """What gateways are told, as a list of messages."""
    with valkey.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(CHANNEL)
        pubsub.get_message(ignore_subscribe_messages=False, timeout=5)

        def messages():
            valkey.publish(CHANNEL, "no more")
            return list(iter(lambda: pubsub.get_message(timeout=5)["data"], b"no more"))

        yield messages


def test_the_documented_models_have_their_list_prices():
    book = load_price_book()
    assert book.price("claude-opus-4-6", 1, at_ms=1_800_000_000_000) == CorePrice(
        model="claude-opus-4-6",
        starts_at_ms=1_770_249_600_000,  # 2026-02-05
        prompt_tokens_min=0,
        input_nanousd=5_000,
        output_nanousd=25_000,
        cache_creation_nanousd=6_250,
        cache_creation_1h_nanousd=10_000,
        cache_read_nanousd=500,
        web_search_nanousd=10_000_000,
        us_percent=110,
    )
    assert book.price("claude-sonnet-4-6", 1, at_ms=1_800_000_000_000).output_nanousd == 15_000
    assert book.price("claude-haiku-4-5", 1, at_ms=1_800_000_000_000).us_percent == 100


def test_a_new_price_is_in_force_from_its_start():
    price_set(price=None, fields=rates(), acting_user=None)
    book = load_price_book()
    start_ms = 1_798_761_600_000  # 2027-01-01
    assert book.price("claude-haiku-4-5", 1, start_ms - 1).input_nanousd == 1_000
    assert book.price("claude-haiku-4-5", 1, start_ms).input_nanousd == 2_000


def test_a_price_leaves_an_audit_event():
    operator = an_operator()
    price_set(price=None, fields=rates(), acting_user=operator, acting_address="192.0.2.7")
    event = AuditEvent.objects.get(action="price.create")
    assert (event.actor, event.address) == (operator, "192.0.2.7")
    assert event.detail["input_nanousd"] == [None, 2_000]


def test_a_change_tells_what_was_and_what_is():
    price = price_set(price=None, fields=rates(), acting_user=None)
    price_set(price=price, fields={"input_nanousd": 3_000}, acting_user=None)
    event = AuditEvent.objects.get(action="price.update")
    assert event.detail == {
        "price": "claude-haiku-4-5 from 2027-01-01",
        "input_nanousd": [2_000, 3_000],
    }
    assert Price.objects.get(pk=price.pk).input_nanousd == 3_000


def test_gateways_are_told_after_the_commit(announced, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks:
        price_set(price=None, fields=rates(), acting_user=None)
    assert announced() == []
    for callback in callbacks:
        callback()
    assert announced() == [b"*"]


def test_a_change_of_nothing_leaves_no_trace(django_capture_on_commit_callbacks):
    price = price_set(price=None, fields=rates(), acting_user=None)
    with django_capture_on_commit_callbacks() as callbacks:
        price_set(price=price, fields=rates(), acting_user=None)
    assert callbacks == []
    assert not AuditEvent.objects.filter(action="price.update").exists()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"input_nanousd": -1}, id="negative"),
        pytest.param({"us_percent": 0}, id="free in the US"),
        pytest.param({"starts_at": None}, id="no start"),
        pytest.param({"input_nanousd": None}, id="no rate"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValidationError):
        price_set(price=None, fields=rates(**fields), acting_user=None)


def test_one_model_has_one_price_of_a_start_and_a_band():
    price_set(price=None, fields=rates(), acting_user=None)
    price_set(price=None, fields=rates(prompt_tokens_min=200_000), acting_user=None)
    with pytest.raises(ValidationError):
        price_set(price=None, fields=rates(), acting_user=None)
