"""One URL of a mail server, as Django wants it."""

import pytest

from claudcode import mail


@pytest.mark.parametrize(
    ("url", "port", "tls", "ssl"),
    [
        ("smtp://mail.example.com", 25, False, False),
        ("smtp+tls://mail.example.com", 587, True, False),
        ("smtps://mail.example.com:4650", 4650, False, True),
    ],
)
def test_the_scheme_says_how_it_is_encrypted(url, port, tls, ssl):
    found = mail.settings(url)
    assert (found["EMAIL_PORT"], found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (port, tls, ssl)


def test_user_and_password_are_unquoted():
    found = mail.settings("smtp+tls://a%40b:p%2Fw@mail.example.com")
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("a@b", "p/w")


@pytest.mark.parametrize("url", ["", "mail.example.com", "http://x", "smtp://", "smtp://x:99999"])
def test_without_a_server_mail_goes_nowhere(url):
    assert mail.settings(url) == {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
