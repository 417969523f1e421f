import datetime as dt
import zlib
from ipaddress import ip_network

import pytest

from keys import services
from keys.core.access import Hangup, KeyStatus, Maintenance
from keys.core.limits import Concurrency, Limit, Unit
from keys.models import Budget, ClaudeModel
from keys.models import Maintenance as MaintenanceRow
from keys.policy import load_catalogue, load_maintenance, load_policy
from tests.factories import a_budget, a_key, a_spec, a_team

pytestmark = pytest.mark.django_db

DAY = dt.datetime(2030, 1, 1, 0, 0, 0, 123_999, tzinfo=dt.UTC)


def test_an_unknown_digest_has_no_policy():
    assert load_policy("0" * 64) is None


def test_a_plain_key():
    apikey = a_key(name="laptop", hangup=Hangup.DRAIN, models=["claude-haiku-*"])
    policy = load_policy(apikey.digest)
    assert (policy.apikey_id, policy.team_id, policy.name) == (apikey.pk, None, "laptop")
    assert (policy.prefix, policy.last_four) == (apikey.prefix, apikey.last_four)
    assert (policy.models, policy.hangup) == (("claude-haiku-*",), Hangup.DRAIN)
    assert policy.status(0) is KeyStatus.ACTIVE


def test_limits_stand_in_their_documented_order():
    team = a_team(rpm=600, budgets=[a_spec(limit=9)])
    apikey = a_key(team=team, rpm=0, budgets=[a_spec(limit=1, strict=True)])
    a_budget(apikey, unit=Unit.NANOUSD, window_s=60, limit=2, anchored=True)
    k, t = f"k{apikey.pk}.0", f"t{team.pk}.0"
    assert load_policy(apikey.digest).limits == (
        Limit(k, Unit.REQUESTS, 60, 0),
        Limit(k, Unit.TOKENS, 3600, 1, strict=True),
        Limit(k, Unit.NANOUSD, 60, 2, anchored=True),
        Limit(t, Unit.REQUESTS, 60, 600),
        Limit(t, Unit.TOKENS, 3600, 9),
    )


def test_what_is_unlimited_is_no_limit():
    apikey = a_key(team=a_team(), rpm=None, budgets=[a_spec(limit=None)])
    assert load_policy(apikey.digest).limits == ()


def test_every_scope_counts_what_is_in_flight():
    team = a_team()
    apikey = a_key(team=team, concurrency=7)
    assert load_policy(apikey.digest).concurrencies == (
        Concurrency(f"k{apikey.pk}.0", 7),
        Concurrency(f"t{team.pk}.0", None),
    )


def test_the_generation_is_part_of_a_scope():
    apikey = a_key()
    moved = services.apikey_update(apikey=apikey, changes={"team": a_team()}, acting_user=None)
    assert load_policy(moved.digest).concurrencies[0].scope == f"k{apikey.pk}.1"


def test_a_key_lives_on_its_own_shard(settings):
    apikey = a_key()
    expected = zlib.crc32(f"k{apikey.pk}".encode()) % settings.SHARDS
    assert load_policy(apikey.digest).shard == expected


def test_a_key_with_a_team_lives_on_its_team_s_shard(settings):
    team = a_team()
    shards = {load_policy(a_key(team=team).digest).shard for _ in range(3)}
    assert shards == {zlib.crc32(f"t{team.pk}".encode()) % settings.SHARDS}


def test_moments_are_whole_milliseconds():
    apikey = a_key(expires_at=DAY)
    Budget.objects.update(reset_at=DAY)
    policy = load_policy(apikey.digest)
    # 1893456000 s is 2030-01-01; the microseconds are cut off, not rounded.
    assert policy.expires_at_ms == 1_893_456_000_123
    assert policy.limits[1].reset_at_ms == 1_893_456_000_123


def test_networks_are_ready_to_compare():
    apikey = a_key(cidrs=["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])
    assert load_policy(apikey.digest).networks == (
        ip_network("10.0.0.0/8"),
        ip_network("2001:db8::/32"),
        ip_network("192.0.2.7/32"),
    )


@pytest.mark.parametrize(
    ("move", "status"),
    [
        pytest.param(services.apikey_disable, KeyStatus.DISABLED, id="disabled"),
        pytest.param(services.apikey_revoke, KeyStatus.REVOKED, id="revoked"),
    ],
)
def test_a_dead_key_still_has_a_policy(move, status):
    apikey = a_key()
    move(apikey=apikey, acting_user=None)
    assert load_policy(apikey.digest).status(0) is status


@pytest.mark.parametrize(
    ("of_key", "of_team", "served"),
    [
        pytest.param(True, None, True, id="a key alone"),
        pytest.param(False, None, False, id="a key alone, switched off"),
        pytest.param(True, True, True, id="both on"),
        pytest.param(True, False, False, id="its team off"),
        pytest.param(False, True, False, id="its team on"),
    ],
)
def test_the_cache_serves_a_key_when_it_and_its_team_let_it(of_key, of_team, served):
    team = None if of_team is None else a_team(cache_enabled=of_team)
    assert load_policy(a_key(team=team, cache_enabled=of_key).digest).cache is served


def test_a_key_has_a_cache_of_its_own():
    apikey = a_key(team=a_team())
    assert load_policy(apikey.digest).cache_scope == f"k{apikey.pk}.0"


def test_keys_of_a_team_can_share_a_cache():
    team = a_team(cache_shared=True)
    scopes = {load_policy(a_key(team=team).digest).cache_scope for _ in range(2)}
    assert scopes == {f"t{team.pk}.0"}


def test_no_two_teams_share_a_cache():
    teams = [a_team(cache_shared=True) for _ in range(2)]
    assert len({load_policy(a_key(team=team).digest).cache_scope for team in teams}) == 2


def test_waiting_and_maintenance_of_a_key():
    policy = load_policy(a_key(wait_s=20, during_maintenance=True).digest)
    assert (policy.wait_s, policy.during_maintenance) == (20, True)
    plain = load_policy(a_key().digest)
    assert (plain.wait_s, plain.during_maintenance) == (0, False)


@pytest.mark.parametrize("budgets", [0, 5])
def test_a_policy_costs_two_queries(budgets, django_assert_num_queries):
    team = a_team(budgets=[a_spec()])
    apikey = a_key(team=team, budgets=[a_spec(window_s=60 + n) for n in range(budgets)])
    with django_assert_num_queries(2):
        load_policy(apikey.digest)


def test_other_keys_budgets_are_not_mixed_in():
    a_key(team=a_team(budgets=[a_spec()]))
    apikey = a_key(budgets=[])
    assert [limit.unit for limit in load_policy(apikey.digest).limits] == [Unit.REQUESTS]


def test_the_catalogue_begins_with_the_documented_models():
    models = load_catalogue().models
    assert list(models) == ["claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"]
    assert models["claude-opus-4-6"].context_window_tokens == 1_000_000
    assert models["claude-sonnet-4-6"].output_tokens_max == 128_000
    assert models["claude-haiku-4-5"].output_tokens_max == 64_000
    assert {model.cache_ttl_s for model in models.values()} == {3600}


def test_a_model_that_is_not_enabled_is_not_offered():
    ClaudeModel.objects.filter(model_id="claude-opus-4-6").update(enabled=False)
    assert "claude-opus-4-6" not in load_catalogue().models


def test_maintenance_is_off_at_first():
    assert load_maintenance().enabled is False


def test_maintenance_without_its_row_is_off():
    MaintenanceRow.objects.all().delete()
    assert load_maintenance().enabled is False


def test_maintenance():
    services.maintenance_set(
        enabled=True, message="Back at noon.", retry_after_s=60, acting_user=None
    )
    assert load_maintenance() == Maintenance(True, "Back at noon.", 60)
