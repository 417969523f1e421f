"""Who may call which model: the frozen policy of a key and the pure decision over it.

The control plane publishes a `KeyPolicy` and a `Catalogue`; the data plane only reads them.
"""

import enum
import fnmatch
import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from keys.core.limits import Concurrency, Limit, encode_question

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# `claude-haiku-4-5-20251001` is the snapshot of `claude-haiku-4-5` of that day.
_DATED = re.compile(r"^(?P<model>.+)-20\d{6}$")


class KeyStatus(enum.StrEnum):
    """The life of a key, as `key-status` prints it."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Hangup(enum.StrEnum):
    """What to do with upstream's answer when the client has left."""

    ABORT = "abort"
    DRAIN = "drain"


class Refusal(enum.StrEnum):
    """Why a key may not make this call, before any counter is looked at."""

    DISABLED = "disabled"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ADDRESS = "address"
    MODEL_UNKNOWN = "model_unknown"
    MODEL_NOT_ALLOWED = "model_not_allowed"


@dataclass(frozen=True)
class KeyPolicy:
    """Everything the data plane needs to know of one key.

    `models` are allowed ids or `*` patterns, empty for the whole catalogue; `networks` are the
    client addresses let in, empty for all; `limits` lie over the key and its team together.
    `revoked` and `disabled` are as stored; `expires_at_ms` is compared at each call.
    `cache` says whether the response cache may serve the key, `cache_scope` whose answers those
    are: "k12.3" for its own, "t5.1" for those of its team. An exchange may wait `wait_s` seconds
    for a free slot. At `until_ms` a limit that was raised falls back, and `later` holds instead.
    """

    apikey_id: int
    team_id: int | None
    prefix: str
    last_four: str
    name: str
    shard: int
    disabled: bool
    revoked: bool
    expires_at_ms: int | None
    models: tuple[str, ...]
    networks: tuple[Network, ...]
    limits: tuple[Limit, ...]
    concurrencies: tuple[Concurrency, ...]
    hangup: Hangup
    cache: bool
    cache_scope: str
    wait_s: int
    during_maintenance: bool
    until_ms: int | None = None
    later: "KeyPolicy | None" = None

    def at(self, now_ms: int) -> "KeyPolicy":
        """Return the policy that holds at `now_ms`: this one, or what comes after its end."""
        policy = self
        while (
            policy.later is not None and policy.until_ms is not None and now_ms >= policy.until_ms
        ):
            policy = policy.later
        return policy

    @cached_property
    def question(self) -> bytes:
        """What the admitting script is asked about this key; built once, it never changes."""
        return encode_question(self.limits, self.concurrencies)

    @cached_property
    def strict(self) -> bool:
        """Whether any limit is strict, so that upper bounds must be worked out."""
        return any(limit.strict for limit in self.limits)

    @cached_property
    def scopes(self) -> str:
        """The scopes of the key, as ledger events name them."""
        return " ".join(concurrency.scope for concurrency in self.concurrencies)

    def status(self, now_ms: int) -> KeyStatus:
        """Return the state of the key's life at `now_ms`."""
        if self.revoked:
            return KeyStatus.REVOKED
        if self.expires_at_ms is not None and now_ms >= self.expires_at_ms:
            return KeyStatus.EXPIRED
        return KeyStatus.DISABLED if self.disabled else KeyStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One model the gateway offers. `context_window_tokens` bounds the input of any request.

    `cache_ttl_s` is how long the response cache keeps its answers to short prompts, 0 for not.
    """

    id: str
    display_name: str
    created_at_ms: int
    context_window_tokens: int
    output_tokens_max: int
    cache_ttl_s: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models on offer, by id, in the order lists print them."""

    models: dict[str, CatalogueModel]

    def find(self, model: str) -> CatalogueModel | None:
        """Return the entry for an id or for a dated snapshot of it."""
        return self.models.get(model) or self.models.get(undated(model))

    def allowed(self, policy: KeyPolicy) -> list[CatalogueModel]:
        """Return the models that `policy` may use."""
        return [m for m in self.models.values() if _matches(policy.models, m.id, m.id)]


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Whether calls under `/v1` are answered 503 for now, with what words and for how long."""

    enabled: bool
    message: str
    retry_after_s: int

    def closes(self, policy: KeyPolicy) -> bool:
        """Return whether calls with this key are turned away for now."""
        return self.enabled and not policy.during_maintenance


def undated(model: str) -> str:
    """Return the model that a dated snapshot is of, and any other id as it is."""
    dated = _DATED.match(model)
    return dated["model"] if dated else model


def parse_network(text: str) -> Network:
    """Return the network that `text` names; a lone address is a network of one.

    Raises `ValueError` for anything else, and for a network with host bits set (`10.0.0.1/8`),
    which is more often a slip than a wish.
    """
    return ip_network(text)


def refuse_key(policy: KeyPolicy, address: Address | None, now_ms: int) -> Refusal | None:
    """Return why `policy` may not call at all from `address`, or `None`."""
    status = policy.status(now_ms)
    if status is not KeyStatus.ACTIVE:
        return Refusal(status.value)
    if policy.networks and not _inside(address, policy.networks):
        return Refusal.ADDRESS
    return None


def refuse_model(policy: KeyPolicy, catalogue: Catalogue, model: str) -> Refusal | None:
    """Return why `policy` may not use `model`, or `None`."""
    found = catalogue.find(model)
    if found is None:
        return Refusal.MODEL_UNKNOWN
    return None if _matches(policy.models, model, found.id) else Refusal.MODEL_NOT_ALLOWED


def may_match(pattern: str, model_id: str) -> bool:
    """Return whether `pattern` can ever let through `model_id` or a dated snapshot of it.

    A pattern is compared as far as its first star: enough to catch a slip, never wrong.
    """
    literal, star, _ = pattern.partition("*")
    if star:
        return literal.startswith(model_id) or model_id.startswith(literal)
    dated = _DATED.match(pattern)
    return model_id in {pattern, dated["model"] if dated else pattern}


def _matches(patterns: tuple[str, ...], model: str, catalogue_id: str) -> bool:
    if not patterns:
        return True
    return any(
        fnmatch.fnmatchcase(model, pattern) or pattern == catalogue_id for pattern in patterns
    )


def _inside(address: Address | None, networks: tuple[Network, ...]) -> bool:
    if address is None:
        return False
    # A socket that listens on IPv6 reports an IPv4 client as ::ffff:10.0.0.1.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)
