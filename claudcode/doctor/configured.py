"""Looks at the settings and at this machine: secrets, names, encryption, disk, open files."""

import re
import resource
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from claudcode import checks, env, stores
from claudcode.doctor.findings import Finding, error, ok, warning
from keys.core.valkey_address import BadValkeyAddress, ValkeyAddress, parse

LOCAL = ("", "localhost", "127.0.0.1", "::1")
# Texts of examples and tutorials, and what nobody draws at random.
WELL_KNOWN = re.compile(r"change.?me|insecure|example|secret.?key|password|12345|abcdef", re.I)
CHARACTERS_MIN = 12
WELL_KNOWN_PASSWORDS = frozenset({"", "postgres", "password", "claudcode", "admin", "secret"})
DISK_FREE_BYTES_MIN, DISK_FREE_SHARE_MIN = 2 * 2**30, 0.05
# An exchange takes two sockets; some hundred are a quiet office.
OPEN_FILES_MIN = 4096
SECURE_MODES = frozenset({"require", "verify-ca", "verify-full"})


def look_at_settings() -> Iterator[Finding]:
    """Run the system checks, which every command runs, and tell their results."""
    found = run_checks(tags=[checks.TAG])
    for one in found:
        make = error if one.is_serious() else warning
        yield make(f"settings {(one.id or '').rpartition('.')[2]}", one.msg, one.hint or "")
    if not found:
        yield ok("settings", "Every value can be used.")


def look_at_secrets() -> Iterator[Finding]:
    """Look for secrets that can be guessed."""
    key, fresh = _secret_key(), "Set CLAUDCODE_SECRET_KEY to `openssl rand -base64 48`."
    if not key:
        yield error("secret key", "There is none.", fresh)
    elif WELL_KNOWN.search(key) or len(set(key)) < CHARACTERS_MIN:
        yield error("secret key", "It can be guessed.", fresh)
    else:
        yield ok("secret key", f"{len(key)} characters.")
    if not settings.CREDENTIAL_KEYS:
        advice = "Set CLAUDCODE_CREDENTIAL_KEYS: openssl rand -base64 32 | tr +/ -_"
        yield warning("credential keys", "None: no credential can be stored sealed.", advice)
    postgres = _postgres()
    if _remote(postgres.get("host")) and postgres.get("password", "") in WELL_KNOWN_PASSWORDS:
        advice = "Give the role a random password (ALTER ROLE … PASSWORD), and put it in the URL."
        yield error("postgres password", "It is none or a well-known one.", advice)
    valkey = _valkey()
    if valkey and _leaves(valkey) and valkey.password in WELL_KNOWN_PASSWORDS:
        advice = "Set requirepass, or a user with a password, and put it in VALKEY_URL."
        yield error("valkey password", "It is none or a well-known one.", advice)


def look_at_site() -> Iterator[Finding]:
    """Look at what browsers meet: debugging, host names, encryption."""
    if settings.DEBUG:
        advice = "Unset CLAUDCODE_DEBUG."
        yield error("debug", "It is on: errors show settings and code to visitors.", advice)
    public = urlsplit(settings.PUBLIC_URL)
    if "*" in settings.ALLOWED_HOSTS:
        advice = "Name the hosts in CLAUDCODE_ALLOWED_HOSTS."
        yield warning("host names", "Every name is answered.", advice)
    elif public.hostname and not _allowed(public.hostname):
        advice = f"Add {public.hostname} to CLAUDCODE_ALLOWED_HOSTS."
        yield error(
            "host names", "The public address is not among them: the console fails.", advice
        )
    else:
        yield ok("host names", ", ".join(settings.ALLOWED_HOSTS))
    if public.scheme == "http" and _remote(public.hostname):
        advice = "Put a proxy with a certificate in front, and make CLAUDCODE_PUBLIC_URL https."
        yield error("tls", "The public address is plain http: keys travel readable.", advice)


def look_at_encryption() -> Iterator[Finding]:
    """Look at the ways to stores on other machines."""
    postgres, valkey = _postgres(), _valkey()
    if _remote(postgres.get("host")) and postgres.get("sslmode") not in SECURE_MODES:
        advice = "Append ?sslmode=verify-full (or require) to DATABASE_URL."
        yield warning("postgres tls", "Nothing makes the connection encrypted.", advice)
    if valkey and not valkey.encrypted and _leaves(valkey):
        advice = "Use rediss:// (rediss+cluster://, rediss+sentinel://) with TLS on."
        yield warning("valkey tls", "The connection is not encrypted.", advice)


def look_at_machine() -> Iterator[Finding]:
    """Look at disk space and the limit of open files."""
    folder = settings.STATE if settings.STATE.exists() else env.ROOT
    disk = shutil.disk_usage(folder)
    seen = f"{disk.free / 2**30:.1f} GiB free on the disk of {folder}."
    if disk.free < max(DISK_FREE_BYTES_MIN, DISK_FREE_SHARE_MIN * disk.total):
        yield warning("disk", seen, "Make room: a full disk stops embedded engines and logs.")
    else:
        yield ok("disk", seen)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = f"{soft} allowed to a process, {hard} at most."
    if soft < OPEN_FILES_MIN:
        advice = "Raise it (ulimit -n, LimitNOFILE): every exchange takes two sockets."
        yield warning("open files", seen, advice)
    else:
        yield ok("open files", seen)


def _secret_key() -> str:
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:
        return ""


def _postgres() -> dict[str, str]:
    url = settings.DATABASE_URL
    if not stores.is_postgres(url):
        return {}
    return {name: str(value) for name, value in conninfo_to_dict(url).items()}


def _valkey() -> ValkeyAddress | None:
    try:
        return parse(settings.VALKEY_URL)
    except BadValkeyAddress:
        return None


def _leaves(valkey: ValkeyAddress) -> bool:
    """Whether the way to Valkey leaves this machine."""
    return any(_remote(host) for host, _port in valkey.nodes)


def _remote(host: str | None) -> bool:
    return (host or "") not in LOCAL and not str(host).startswith("/")


def _allowed(host: str) -> bool:
    return any(
        host == name or (name.startswith(".") and f".{host}".endswith(name))
        for name in settings.ALLOWED_HOSTS
    )
