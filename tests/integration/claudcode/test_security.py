"""What browsers are told, whose word counts behind a proxy, and Django's own check of all that."""

import os
import subprocess
import sys

import pytest
from django.test import Client
from django.urls import reverse

from claudcode import env
from tests.factories import an_operator

PROXY = {"REMOTE_ADDR": "10.0.0.1"}
PRODUCTION = {
    "CLAUDCODE_PUBLIC_URL": "https://claude.example.com",
    "CLAUDCODE_ALLOWED_HOSTS": "claude.example.com",
    "CLAUDCODE_TRUSTED_PROXIES": "10.0.0.0/8",
    "CLAUDCODE_SECRET_KEY": "kD3+fQ9zLw7vXb2mNc8tRg5yHj1aSe6uPo4iUq0WxZdVnKlMz1Yb8",
    # Looked at, not talked to.
    "DATABASE_URL": "postgresql://claudcode@127.0.0.1:1/claudcode",
    "VALKEY_URL": "redis://127.0.0.1:1/0",
}
SETTINGS = """
import django, json
from django.conf import settings
print(json.dumps([getattr(settings, name) for name in (
    "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS",
    "SECURE_PROXY_SSL_HEADER")]))
"""


def production(*words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the environment of a gateway behind a proxy that ends TLS."""
    environment = os.environ | PRODUCTION | changed
    return subprocess.run(
        [sys.executable, *words],
        env=environment,
        cwd=env.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_django_finds_nothing_to_say_about_production():
    done = production("manage.py", "check", "--deploy", "--fail-level", "DEBUG")
    assert "no issues" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_behind_https_everything_asks_for_it():
    done = production("-c", SETTINGS)
    assert done.stdout.strip() == (
        '[true, true, true, 31536000, ["HTTP_X_FORWARDED_PROTO", "https"]]'
    )


def test_without_a_named_proxy_no_header_speaks_of_https():
    done = production("-c", SETTINGS, CLAUDCODE_TRUSTED_PROXIES="")
    assert done.stdout.strip() == "[true, true, false, 31536000, null]"


def test_without_https_nothing_asks_for_it():
    done = production("-c", SETTINGS, CLAUDCODE_PUBLIC_URL="http://claude.example.com")
    assert done.stdout.strip().startswith("[false, false, false, 0,")


# --- Proxies ------------------------------------------------------------------------------------


PAGE = "/try"  # One that asks no store.


def seen(**meta) -> dict:
    return Client(**meta).get(PAGE).wsgi_request.META


def test_a_strangers_headers_are_dropped():
    meta = seen(
        REMOTE_ADDR="192.0.2.7",
        HTTP_X_FORWARDED_FOR="203.0.113.1",
        HTTP_X_FORWARDED_PROTO="https",
    )
    assert meta["REMOTE_ADDR"] == "192.0.2.7"
    assert not [name for name in meta if "FORWARDED" in name]


def test_a_trusted_proxy_names_the_client_and_the_scheme(settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    client = Client(**PROXY, HTTP_X_FORWARDED_FOR="203.0.113.1", HTTP_X_FORWARDED_PROTO="https")
    request = client.get(PAGE).wsgi_request
    assert request.META["REMOTE_ADDR"] == "203.0.113.1"
    assert request.is_secure()


def test_http_is_redirected_and_https_is_not(settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 3600
    plain = Client(**PROXY, HTTP_X_FORWARDED_PROTO="http").get(PAGE)
    assert (plain.status_code, plain["Location"]) == (301, f"https://testserver{PAGE}")
    secure = Client(**PROXY, HTTP_X_FORWARDED_PROTO="https").get(PAGE)
    assert secure["Strict-Transport-Security"] == "max-age=3600"


# --- Browsers -----------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "scripts"),
    [
        # Nothing of ours for developers needs Alpine.
        ("/", "'self'"),
        ("/status", "'self'"),
        ("/admin/login/", "'self' 'unsafe-eval'"),
        ("/admin/", "'self' 'unsafe-eval'"),
        ("/admin/keys/nothing/", "'self' 'unsafe-eval'"),
    ],
)
@pytest.mark.usefixtures("valkey")
def test_every_page_carries_its_headers(path, scripts):
    client = Client()
    client.force_login(an_operator())
    answer = client.get(path)
    policy = dict(part.strip().partition(" ")[::2] for part in answer[CSP].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["script-src"] == scripts
    assert (policy["frame-ancestors"], policy["object-src"]) == ("'none'", "'none'")
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]


CSP = "Content-Security-Policy"


@pytest.mark.django_db
@pytest.mark.usefixtures("valkey")
def test_a_page_with_a_script_names_it():
    client = Client()
    client.force_login(an_operator())
    page = client.post(
        reverse("admin:auth_user_add"), {"username": "bob", "groups": [], "is_active": "on"}
    )
    nonce = page.wsgi_request.csp_nonce
    assert f'<script nonce="{nonce}">' in page.content.decode()
    assert f"'nonce-{nonce}'" in page[CSP]


@pytest.mark.django_db
def test_cookies_are_out_of_reach_of_scripts_and_other_sites():
    cookies = Client().get(reverse("admin:login")).cookies
    assert cookies["csrftoken"]["httponly"]
    assert cookies["csrftoken"]["samesite"] == "Lax"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fallbacks", "status"),
    [
        pytest.param(["the old one"], 200, id="the old key is a fallback"),
        pytest.param([], 302, id="the old key is forgotten"),
    ],
)
def test_a_session_outlives_a_change_of_the_secret_key(settings, fallbacks, status):
    settings.SECRET_KEY = "the old one"
    browser = Client()
    browser.force_login(an_operator())
    settings.SECRET_KEY = "the new one"
    settings.SECRET_KEY_FALLBACKS = fallbacks
    assert browser.get(reverse("admin:index")).status_code == status
