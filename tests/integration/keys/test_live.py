"""Looking at many keys at once moves nothing, and says what is not known."""

import asyncio

import pytest
from redis.asyncio import Redis

from keys.core.limits import Unit, Wanted
from keys.limiter import Limiter, Past
from keys.live import NotRead, peek
from keys.models import ApiKey
from keys.policy import load_policies
from tests.factories import a_key, a_spec, a_team

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

WANTED = Wanted(100, 100, 0, 0, 40, 0)


async def _no_past(_limit, _backlog):
    return Past(())


@pytest.fixture
def admit(valkey_url):
    """Let exchanges of a key in, as a gateway does."""

    def admit(apikey, times=1):
        policy = load_policies([apikey])[apikey.pk]

        async def ask():
            async with (
                Redis.from_url(valkey_url) as client,
                Limiter(client, _no_past, lease_ttl_ms=60_000) as limiter,
            ):
                for number in range(times):
                    await limiter.admit(policy, f"{apikey.pk}-{number}", WANTED, b"{}")

        asyncio.run(ask())

    return admit


def read_again(*apikeys):
    pks = [apikey.pk for apikey in apikeys]
    return list(ApiKey.objects.select_related("team").filter(pk__in=pks))


def test_requests_reservations_and_flights_are_seen(admit):
    apikey = a_key(budgets=[a_spec(limit=1000)])
    admit(apikey, times=3)
    live = peek([apikey])[apikey.pk]
    assert (live.rpm, live.in_flight) == (3, 3)
    assert [(each.used, each.held) for each in live.budgets] == [(0, 300)]
    assert live.cold == ()


def test_to_look_changes_nothing(admit, valkey):
    apikey = a_key()
    admit(apikey)
    first = peek([apikey])
    assert peek([apikey])[apikey.pk].readings == first[apikey.pk].readings


def test_a_window_nobody_used_is_cold_and_not_made(valkey):
    apikey = a_key(budgets=[a_spec()])
    live = peek([apikey])[apikey.pk]
    assert [limit.unit for limit in live.cold] == [Unit.REQUESTS, Unit.TOKENS]
    assert (live.rpm, live.in_flight) == (0, 0)
    assert valkey.keys() == []


def test_what_is_warm_is_told_beside_what_is_cold(admit):
    team = a_team(budgets=[a_spec(limit=9_000)])
    mate, other = a_key(team=team, budgets=[]), a_key(team=team, budgets=[a_spec()])
    admit(mate)
    live = peek(read_again(other))[other.pk]
    assert [reading.held for reading in live.budgets] == [100]
    assert {limit.scope[0] for limit in live.cold} == {"k"}


def test_a_key_without_a_rate_limit_counts_no_requests(admit):
    apikey = a_key(rpm=None)
    admit(apikey)
    assert peek([apikey])[apikey.pk].rpm is None


def test_many_keys_cost_one_query(django_assert_num_queries):
    apikeys = read_again(*[a_key(team=a_team()) for _ in range(20)])
    with django_assert_num_queries(1):
        assert len(peek(apikeys)) == 20


def test_without_valkey_nobody_knows(settings):
    apikey = a_key()
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(NotRead):
        peek([apikey])
