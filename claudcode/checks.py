"""System checks of the settings: one id and one hint for each value that can be wrong.

`manage.py check` prints them, every command runs them first, and the gateway refuses to start while
there is one. They look at values alone; whether a server answers is for `/readyz`.
"""

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction

from claudcode import mail, stores
from keys.core import valkey_address
from keys.core.addresses import Addresses
from keys.models.fields import LEDGER_KEEP_DAYS_MAX, LEDGER_KEEP_DAYS_MIN
from operators.oidc import configuration
from proxy import accounts, credentials
from proxy.core.account import BadAddress, parse_base_url
from proxy.models import UpstreamAccount

TAG = "claudcode"
LOG_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
SECRET_KEY_LENGTH_MIN = 50
METRICS_TOKEN_LENGTH_MIN = 20

# id, setting, least, most, what to know when choosing a value.
RANGES: tuple[tuple[str, str, float, float, str], ...] = (
    ("E020", "BODY_BYTES_MAX", 1024, 2**30, "Anthropic takes 32 MiB, which is the default."),
    ("E021", "BODIES_BYTES_MAX", 1024, 2**40, "It bounds the memory of one process."),
    ("E050", "FLIGHTS_BYTES_MAX", 0, 2**40, "0 shares no call and caches no answer."),
    ("E022", "BODY_SECONDS_MAX", 1, 3600, "A large body over a slow line takes a minute."),
    ("E023", "UPSTREAM_CONNECT_SECONDS_MAX", 0.1, 60, "5 seconds is long for a connection."),
    ("E024", "UPSTREAM_READ_SECONDS_MAX", 1, 3600, "SDKs wait ten minutes themselves."),
    ("E025", "UPSTREAM_CONNECTIONS_MAX", 1, 60_000, "One exchange takes one connection."),
    ("E026", "EXCHANGE_SECONDS_MAX", 1, 86_400, "Long answers stream for many minutes."),
    ("E027", "PING_AFTER_S", 1, 600, "Proxies on the way close connections silent for a minute."),
    ("E028", "DRAIN_SECONDS_MAX", 0, 600, "0 aborts at once."),
    ("E029", "SHUTDOWN_SECONDS_MAX", 0, 3600, "Your process manager must be as patient."),
    ("E030", "LEASE_TTL_S", 5, 3600, "Three times LEASE_RENEW_S is right."),
    ("E031", "LEASE_RENEW_S", 1, 1200, "A third of LEASE_TTL_S is right."),
    ("E032", "SHARDS", 1, 100, "Choose it once: changing it empties every window."),
    ("E033", "CACHE_READ_WEIGHT_PERCENT", 0, 100, "Anthropic charges 10 percent."),
    ("E052", "FAST_PERCENT", 100, 10_000, "Anthropic charged 600 percent for the first models."),
    ("E034", "COUNT_TOKENS_RPM", 1, 10**9, "Claude Code sends 25 in a second."),
    ("E035", "VALKEY_SECONDS_MAX", 0.01, 30, "A client waits this long for its 503."),
    ("E036", "POLICY_CACHE_ENTRIES_MAX", 1, 10**8, "One entry takes about 2 KB."),
    ("E037", "POLICY_AGE_S_MAX", 1, 3600, "A revocation whose message is lost takes this long."),
    ("E038", "LOOKUPS_PER_S_MAX", 1, 10_000, "It bounds what guessed keys cost Postgres."),
    ("E039", "DRAIN_BATCH", 1, 10_000, "One statement writes that many rows."),
    ("E040", "DRAIN_LAG_S_MAX", 1, 86_400, "The drain runs every second."),
    ("E041", "EVENTS_KEEP_S", 1, 86_400, "Valkey's memory holds them that long."),
    ("E047", "LEDGER_MONTHS_AHEAD", 1, 24, "Workers that rest for a month need one ahead."),
    ("E042", "DATABASE_CONNECTIONS_MAX", 1, 1000, "All processes together share Postgres' own."),
    ("E046", "REPLICA_LAG_S_MAX", 1, 3600, "Pages tell how old their figures are beyond 5 s."),
    ("E043", "UPSTREAM_ATTEMPTS_MAX", 1, 20, "Each account failing costs one."),
    ("E044", "UPSTREAM_RETRY_SECONDS_MAX", 0, 600, "A client waits this long for its error."),
    ("E082", "TRACES_RATIO", 0, 1, "0.1 records every tenth call."),
    ("E060", "SESSION_IDLE_S", 60, 30 * 86_400, "An hour keeps a forgotten browser harmless."),
    ("E061", "SESSION_AGE_S_MAX", 60, 90 * 86_400, "Twelve hours are a working day."),
    ("E062", "SIGN_IN_FAILURES_MAX", 1, 1000, "Ten are more than anyone mistypes."),
    ("E063", "SIGN_IN_LOCK_S", 1, 86_400, "A quarter of an hour makes guessing hopeless."),
    ("E064", "HSTS_S", 0, 63_072_000, "0 does not ask for it; a year is the custom."),
    ("E051", "MANAGEMENT_RPM", 1, 10**6, "It bounds what a program gone wild costs."),
    ("E090", "VALKEY_WAIT_REPLICAS", 0, 16, "1 outlives the loss of a primary."),
    ("E091", "VALKEY_WAIT_MS_MAX", 1, 10_000, "A replica nearby answers in a millisecond."),
    ("E045", "VALKEY_MEMORY_BYTES_MAX", 0, 2**42, "0 takes what fits the machine."),
)

Findings = Iterator[CheckMessage]
_checks: list[Callable[[], Findings]] = []


def refuse_wrong_settings() -> None:
    """Raise `ImproperlyConfigured` with every error among the settings, if there is one."""
    errors = [str(e) for e in run_checks(tags=[TAG]) if e.is_serious()]
    if errors:
        raise ImproperlyConfigured("\n".join(errors))


@register(TAG)
def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with the settings."""
    return [finding for check in _checks for finding in check()]


@register(Tags.database)
def check_credentials(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Return an error if no key opens the credential of an enabled upstream account."""
    if not databases or not _are_keys():
        return []
    try:
        with transaction.atomic():
            rows = list(UpstreamAccount.objects.filter(enabled=True).exclude(credential=None))
    except DatabaseError:  # There is no table yet, or no server.
        return []
    unreadable = [row.name for row in rows if not _opens(row)]
    if not unreadable:
        return []
    return [
        _error(
            "E016",
            "No key of CLAUDCODE_CREDENTIAL_KEYS opens the credential of:"
            f" {', '.join(unreadable)}.",
            "Add the key that sealed it (the embedded run keeps it in credential_key of the state"
            " folder), or disable the account, or give its credential again.",
        )
    ]


@_checks.append
def _secret_key() -> Findings:
    try:
        secret = settings.SECRET_KEY
    except ImproperlyConfigured:
        secret = ""
    # Without any URL it is a command that needs no engine, or the embedded run, which has its own.
    if not secret and settings.DATABASE_URL:
        yield _error("E001", "There is no secret key.", "Set CLAUDCODE_SECRET_KEY.")
    elif secret and len(secret) < SECRET_KEY_LENGTH_MIN:
        yield _error(
            "E002",
            f"The secret key is shorter than {SECRET_KEY_LENGTH_MIN} characters.",
            "Set CLAUDCODE_SECRET_KEY to the output of `openssl rand -base64 48`.",
        )


@_checks.append
def _stores() -> Findings:
    if settings.DATABASE_URL and not stores.is_postgres(settings.DATABASE_URL):
        yield _error(
            "E003",
            "DATABASE_URL is not a Postgres URL.",
            "It looks like postgresql://user:password@host:5432/name.",
        )
    if settings.REPLICA_URL and not stores.is_postgres(settings.REPLICA_URL):
        yield _error(
            "E049",
            "CLAUDCODE_REPLICA_URL is not a Postgres URL.",
            "It looks like postgresql://user:password@replica:5432/name.",
        )
    if settings.VALKEY_URL:
        try:
            valkey_address.parse(settings.VALKEY_URL)
        except valkey_address.BadValkeyAddress as error:
            yield _error(
                "E004",
                f"VALKEY_URL is not a Valkey URL. {error}",
                "It looks like redis://host:6379/0, unix:///path?db=0, redis+cluster://h1:6379,h2"
                " or redis+sentinel://h1:26379,h2/SERVICE?db=0.",
            )


@_checks.append
def _mail() -> Findings:
    if settings.EMAIL_URL and not mail.is_mail(settings.EMAIL_URL):
        yield _error(
            "E070",
            "CLAUDCODE_EMAIL_URL is not the address of a mail server.",
            "It looks like smtp+tls://user:password@mail.example.com:587.",
        )


@_checks.append
def _hosts() -> Findings:
    if settings.DEBUG and settings.PUBLIC_URL:
        yield Warning(
            "Debugging is on while a public address is set.",
            hint="Unset CLAUDCODE_DEBUG: it shows settings and code to visitors.",
            id="claudcode.W001",
        )
    if any("/" in host for host in settings.ALLOWED_HOSTS):
        yield _error(
            "E005",
            "CLAUDCODE_ALLOWED_HOSTS holds something that is no host name.",
            "Give names alone, by commas: claude.example.com,localhost.",
        )
    if any("://" not in origin for origin in settings.CSRF_TRUSTED_ORIGINS):
        yield _error(
            "E006",
            "CLAUDCODE_CSRF_TRUSTED_ORIGINS holds an origin without a scheme.",
            "Give whole origins: https://claude.example.com.",
        )
    if settings.PUBLIC_URL and not _is_http(settings.PUBLIC_URL):
        yield _error(
            "E007",
            "CLAUDCODE_PUBLIC_URL is not an http(s) URL.",
            "Give what users type: https://claude.example.com.",
        )


@_checks.append
def _trusted_proxies() -> Findings:
    for cidr in settings.TRUSTED_PROXIES:
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            yield _error(
                "E008",
                f"CLAUDCODE_TRUSTED_PROXIES holds {cidr!r}, which is no network.",
                "Give CIDRs by commas: 10.0.0.0/8,fd00::/8.",
            )


@_checks.append
def _retention() -> Findings:
    days = settings.LEDGER_KEEP_DAYS
    if days and not LEDGER_KEEP_DAYS_MIN <= days <= LEDGER_KEEP_DAYS_MAX:
        yield _error(
            "E048",
            f"CLAUDCODE_LEDGER_KEEP_DAYS is {days}.",
            f"Windows of a month are loaded from the ledger: say {LEDGER_KEEP_DAYS_MIN} to"
            f" {LEDGER_KEEP_DAYS_MAX}, or 0 to keep it for ever.",
        )


@_checks.append
def _metrics() -> Findings:
    if any(len(token) < METRICS_TOKEN_LENGTH_MIN for token in settings.METRICS_TOKENS):
        yield _error(
            "E080",
            f"A token for /metrics is shorter than {METRICS_TOKEN_LENGTH_MIN} characters.",
            "Set it to the output of `openssl rand -hex 32`.",
        )
    for cidr in settings.METRICS_NETWORKS:
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            yield _error(
                "E081",
                f"CLAUDCODE_METRICS_NETWORKS holds {cidr!r}, which is no network.",
                "Give CIDRs by commas: 10.0.0.0/8,fd00::/8.",
            )


@_checks.append
def _proxy_of_https() -> Findings:
    if settings.PUBLIC_URL.startswith("https://") and not settings.TRUSTED_PROXIES:
        yield Warning(
            "The public address is https, but no reverse proxy is trusted to say so.",
            hint="Set CLAUDCODE_TRUSTED_PROXIES to the proxy that ends TLS: without it http is not"
            " redirected, and all failed sign-ins seem to come from the proxy.",
            id="claudcode.W002",
        )


@_checks.append
def _client_addresses() -> Findings:
    if settings.CLIENT_ADDRESSES not in set(Addresses):
        yield _error(
            "E084",
            f"CLAUDCODE_CLIENT_ADDRESSES is {settings.CLIENT_ADDRESSES!r}.",
            "Say full, truncated or none.",
        )


@_checks.append
def _traces() -> Findings:
    endpoint = settings.TRACES_ENDPOINT
    if endpoint and not endpoint.startswith(("http://", "https://")):
        yield _error(
            "E083",
            f"CLAUDCODE_TRACES_ENDPOINT is {endpoint!r}, no address of http.",
            "Name an OTLP receiver for HTTP, not gRPC: http://collector:4318.",
        )


@_checks.append
def _single_sign_on() -> Findings:
    for message, hint in configuration.faults():
        yield _error("E065", message, hint)


@_checks.append
def _log_level() -> Findings:
    if settings.LOG_LEVEL not in LOG_LEVELS:
        yield _error(
            "E009",
            f"CLAUDCODE_LOG_LEVEL is {settings.LOG_LEVEL!r}.",
            f"It is one of {', '.join(sorted(LOG_LEVELS))}.",
        )


@_checks.append
def _upstream() -> Findings:
    try:
        parse_base_url(settings.ANTHROPIC_BASE_URL)
    except BadAddress as error:
        yield _error(
            "E010",
            f"ANTHROPIC_BASE_URL cannot be used. {error}",
            "Unset it for Anthropic's own, or give a whole URL without /v1.",
        )
    if settings.ANTHROPIC_API_KEY and settings.ANTHROPIC_AUTH_TOKEN:
        yield _error(
            "E011",
            "Both ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN are set.",
            "Set the one that upstream wants, and unset the other.",
        )
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        # It becomes a header, where a line break would start another one.
        if not getattr(settings, name).isprintable() or not getattr(settings, name).isascii():
            yield _error("E012", f"{name} holds a character no key has.", "Copy it once more.")


@_checks.append
def _credential_keys() -> Findings:
    if not _are_keys():
        yield _error(
            "E015",
            "CLAUDCODE_CREDENTIAL_KEYS holds something that is no key.",
            "A key is 32 random bytes in URL-safe base64: openssl rand -base64 32 | tr +/ -_",
        )


@_checks.append
def _ranges() -> Findings:
    for number, name, least, most, hint in RANGES:
        value = getattr(settings, name)
        if not least <= value <= most:
            yield _error(
                number, f"CLAUDCODE_{name} is {value}; it must be {least:g} to {most:g}.", hint
            )


@_checks.append
def _replicas() -> Findings:
    if settings.VALKEY_WAIT_MS_MAX > settings.VALKEY_SECONDS_MAX * 500:
        yield _error(
            "E092",
            "CLAUDCODE_VALKEY_WAIT_MS_MAX is more than half of CLAUDCODE_VALKEY_SECONDS_MAX.",
            "Calls behind the wait would be given up before their turn.",
        )


@_checks.append
def _leases() -> Findings:
    if settings.LEASE_RENEW_S * 2 > settings.LEASE_TTL_S:
        yield _error(
            "E013",
            "CLAUDCODE_LEASE_RENEW_S is more than half of CLAUDCODE_LEASE_TTL_S.",
            "One renewal that fails would lose every exchange of a process; a third is right.",
        )
    if settings.BODY_BYTES_MAX > settings.BODIES_BYTES_MAX:
        yield _error(
            "E014",
            "CLAUDCODE_BODY_BYTES_MAX is more than CLAUDCODE_BODIES_BYTES_MAX.",
            "A process must be able to hold at least one body.",
        )


def _are_keys() -> bool:
    return all(credentials.is_key(key) for key in settings.CREDENTIAL_KEYS)


def _opens(row: UpstreamAccount) -> bool:
    try:
        accounts.access(row)
    except credentials.CredentialUnreadable:
        return False
    return True


def _is_http(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _error(number: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"claudcode.{number}")
