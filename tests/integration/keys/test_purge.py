import contextlib
import socket
import subprocess

import pytest
import redis
from django.core.management import CommandError, call_command
from redis.cluster import ClusterNode, RedisCluster

from claudcode.engines.valkey import binary
from keys import services
from keys.invalidation import CHANNEL
from keys.limiter import shard_tag
from keys.models import ApiKey, AuditEvent, Team
from keys.policy import load_policy
from keys.purge import NAMES_AT_ONCE, EntriesRemain, cache_purge
from tests.factories import a_key, a_team, an_operator
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


def stored(client, apikey, *answers):
    """Put entries where gateways put those of this key; return their names."""
    policy = load_policy(apikey.digest)
    names = [
        f"{shard_tag(policy.shard)}:r:{policy.cache_scope}:{answer}".encode()
        for answer in answers or ("a", "b")
    ]
    for name in names:
        client.set(name, b"answer", ex=3600)
    return names


def left(client):
    return set(client.scan_iter("{s*}:*"))


def test_the_entries_of_one_key_are_deleted_and_counted(valkey):
    apikey, neighbour = a_key(), a_key()
    stored(valkey, apikey)
    kept = stored(valkey, neighbour)
    assert cache_purge(holder=apikey, acting_user=None) == 2
    assert left(valkey) == set(kept)


def test_a_key_whose_number_begins_like_another_s_keeps_its_entries(valkey):
    apikey = a_key()
    longer = f"{{s00}}:r:k{apikey.pk}0.0:a".encode()
    valkey.set(longer, b"answer")
    cache_purge(holder=apikey, acting_user=None)
    assert left(valkey) == {longer}


def test_entries_of_every_generation_and_shard_are_deleted(valkey):
    apikey = a_key()
    stored(valkey, apikey)
    moved = services.apikey_update(apikey=apikey, changes={"team": a_team()}, acting_user=None)
    stored(valkey, moved)
    assert cache_purge(holder=moved, acting_user=None) == 4


def test_nothing_but_entries_is_deleted(valkey):
    apikey = a_key()
    others = {f"{{s00}}:{name}".encode() for name in ("w:k1.0:tok:60", "c:k1.0", "events", "r")}
    for name in others:
        valkey.set(name, b"")
    assert cache_purge(holder=None, acting_user=None) == 0
    assert cache_purge(holder=apikey, acting_user=None) == 0
    assert left(valkey) == others


def test_what_was_stored_before_is_never_read_again(valkey):
    apikey = a_key()
    before = load_policy(apikey.digest).cache_scope
    cache_purge(holder=apikey, acting_user=None)
    late = stored(valkey, apikey)  # By a gateway that knows of it.
    assert load_policy(apikey.digest).cache_scope != before
    assert before.encode() not in late[0]


def test_a_team_takes_its_keys_with_it(valkey):
    team = a_team()
    stored(valkey, a_key(team=team))
    stored(valkey, a_key(team=team))
    kept = stored(valkey, a_key(team=a_team()))
    assert cache_purge(holder=team, acting_user=None) == 4
    assert left(valkey) == set(kept)


def test_what_a_team_shares_is_deleted_with_it(valkey):
    team = a_team(cache_shared=True)
    apikey = a_key(team=team)
    before = load_policy(apikey.digest).cache_scope
    stored(valkey, apikey)
    assert cache_purge(holder=team, acting_user=None) == 2
    assert load_policy(apikey.digest).cache_scope != before


def test_a_key_takes_what_its_team_shares_with_it(valkey):
    team = a_team(cache_shared=True)
    apikey, mate = a_key(team=team), a_key(team=team)
    before = load_policy(mate.digest).cache_scope
    stored(valkey, mate)
    assert cache_purge(holder=apikey, acting_user=None) == 2
    assert load_policy(mate.digest).cache_scope != before


def test_everybody(valkey):
    apikeys = [a_key(), a_key(team=a_team(cache_shared=True))]
    before = [load_policy(apikey.digest).cache_scope for apikey in apikeys]
    for apikey in apikeys:
        stored(valkey, apikey)
    assert cache_purge(holder=None, acting_user=None) == 4
    after = [load_policy(apikey.digest).cache_scope for apikey in apikeys]
    assert not set(before) & set(after)


def test_many_entries_are_deleted_step_by_step(valkey):
    apikey = a_key()
    count = 2 * NAMES_AT_ONCE + 1
    stored(valkey, apikey, *range(count))
    assert cache_purge(holder=apikey, acting_user=None) == count
    assert left(valkey) == set()


def test_without_valkey_the_purge_holds_and_says_what_is_left(settings):
    settings.VALKEY_URL = "unix:///nonexistent"
    apikey = a_key()
    with pytest.raises(EntriesRemain):
        cache_purge(holder=apikey, acting_user=None)
    assert ApiKey.objects.get(pk=apikey.pk).cache_generation == 1


def test_a_purge_is_audited(valkey):
    operator, team = an_operator(), a_team()
    a_key(team=team)
    cache_purge(holder=team, acting_user=operator)
    event = AuditEvent.objects.order_by("-id")[0]
    assert (event.action, event.actor) == ("cache.purge", operator)
    assert (event.target_type, event.target_id) == ("team", team.pk)
    assert event.detail == {"keys": 1, "teams": 1}


def test_a_purge_of_everybody_is_audited_too(valkey):
    cache_purge(holder=None, acting_user=None)
    event = AuditEvent.objects.order_by("-id")[0]
    assert (event.target_type, event.target_id) == ("everybody", 0)


@pytest.mark.parametrize(
    ("holder", "told"),
    [
        pytest.param(lambda: a_key(), "digest", id="a key"),
        pytest.param(lambda: a_key(team=a_team(cache_shared=True)), "*", id="a key that shares"),
        pytest.param(lambda: a_team(), "*", id="a team"),
        pytest.param(lambda: None, "*", id="everybody"),
    ],
)
def test_gateways_are_told(valkey, django_capture_on_commit_callbacks, holder, told):
    of = holder()
    with valkey.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(CHANNEL)
        pubsub.get_message(ignore_subscribe_messages=False, timeout=5)
        with django_capture_on_commit_callbacks(execute=True):
            cache_purge(holder=of, acting_user=None)
        heard = pubsub.get_message(timeout=5)["data"].decode()
    assert heard == (of.digest if told == "digest" else told)


# --- The command --------------------------------------------------------------------------------


@pytest.fixture
def purge(capsys):
    """Runs the command and returns what it prints."""

    def run(*arguments):
        call_command("cache_purge", *arguments)
        return capsys.readouterr().out.strip()

    return run


@pytest.mark.parametrize("field", ["prefix", "pk"])
def test_a_key_is_named_by_its_prefix_or_id(valkey, purge, field):
    apikey = a_key()
    stored(valkey, apikey)
    said = purge("--key", str(getattr(apikey, field)))
    assert said == f"Purged the cache of {apikey}: 2 entries."


def test_a_team_is_named_by_its_name(valkey, purge):
    stored(valkey, a_key(team=a_team(name="research")))
    assert purge("--team", "research") == "Purged the cache of research: 2 entries."


def test_all(valkey, purge):
    stored(valkey, a_key())
    assert purge("--all") == "Purged the cache of everybody: 2 entries."


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param([], "required", id="nobody named"),
        pytest.param(["--all", "--team", "x"], "not allowed", id="two named"),
        pytest.param(["--team", "nobody"], "no team 'nobody'", id="no such team"),
        pytest.param(["--key", "sk-cc-nobody"], "No key has the prefix", id="no such key"),
        pytest.param(["--key", "9" * 30], "No key has the prefix", id="a number beyond ids"),
        pytest.param(["--key", "sk-cc-AbCdEf"], "Name one by its id", id="two of a prefix"),
    ],
)
def test_what_names_nobody_is_refused(valkey, purge, arguments, complaint):
    for apikey in (a_key(), a_key()):
        ApiKey.objects.filter(pk=apikey.pk).update(prefix="sk-cc-AbCdEf")
    with pytest.raises(CommandError, match=complaint):
        purge(*arguments)
    assert not Team.objects.exists()
    assert set(ApiKey.objects.values_list("cache_generation", flat=True)) == {0}


def test_the_command_says_when_entries_are_left(settings, purge):
    settings.VALKEY_URL = "unix:///nonexistent"
    with pytest.raises(CommandError, match="expire by themselves"):
        purge("--all")


# --- A cluster ----------------------------------------------------------------------------------


@contextlib.contextmanager
def a_node(folder):
    """A node of a cluster to be; yields its port."""
    folder.mkdir()
    port, bus = free_port(), free_port()
    options = {"port": port, "cluster-port": bus, "bind": "127.0.0.1", "dir": folder, "save": ""}
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with (folder / "log").open("wb") as log:
        node = subprocess.Popen(
            [binary(), "--cluster-enabled", "yes", *given], stdout=log, stderr=log
        )
    try:
        yield port, bus
    finally:
        node.kill()
        node.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(node):
    with contextlib.suppress(redis.ConnectionError):
        return node.ping()


@pytest.fixture
def cluster(tmp_path):
    """A client of two nodes that have half of the slots each."""
    with contextlib.ExitStack() as running:
        ports = [running.enter_context(a_node(tmp_path / name)) for name in ("one", "two")]
        nodes = [running.enter_context(redis.Redis(port=port)) for port, _bus in ports]
        for node, slots in zip(nodes, [(0, 8191), (8192, 16383)], strict=True):
            wait_until(lambda node=node: answers(node))
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", *ports[1])
        for node in nodes:
            wait_until(lambda node=node: b"cluster_state:ok" in raw_state(node), seconds=30)
        startup = [ClusterNode("127.0.0.1", port) for port, _bus in ports]
        yield running.enter_context(contextlib.closing(RedisCluster(startup_nodes=startup)))


def raw_state(node):
    state = node.execute_command("CLUSTER", "INFO")
    return state if isinstance(state, bytes) else f"cluster_state:{state['cluster_state']}".encode()


def test_every_node_of_a_cluster_is_purged(cluster, settings):
    apikeys = [a_key() for _ in range(12)]
    for apikey in apikeys:
        stored(cluster, apikey)
    holding = [node for node in cluster.get_primaries() if cluster.dbsize(target_nodes=node)]
    assert len(holding) == 2
    assert cache_purge(holder=None, acting_user=None, client=cluster) == 24
    assert left(cluster) == set()
