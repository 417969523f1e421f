"""What the first start shows, and the second does not."""

from pathlib import Path

from claudcode.first_run import FirstSecrets, Upstreams
from claudcode.welcome import PLACEHOLDER, welcome

CLAUDE = Upstreams(("default: https://api.anthropic.com",), simulated=False)


def text(secrets: FirstSecrets, upstreams: Upstreams = CLAUDE) -> str:
    return welcome("http://127.0.0.1:8000", secrets, upstreams, Path("/state"))


def test_a_first_start_shows_password_and_key_and_a_curl_with_it():
    shown = text(FirstSecrets("the-password", "sk-cc-the-key"))
    assert "the-password   (shown this once; replace it at sign-in)" in shown
    assert "-H 'x-api-key: sk-cc-the-key'" in shown


def test_a_later_start_shows_no_secret():
    shown = text(FirstSecrets(None, None))
    assert "Password" not in shown
    assert f"-H 'x-api-key: {PLACEHOLDER}'" in shown


def test_the_simulator_is_announced_loudly():
    assert "THE SIMULATOR" in text(FirstSecrets(None, None), Upstreams((), simulated=True))


def test_every_account_is_named():
    shown = text(FirstSecrets(None, None), Upstreams(("first: one", "second: two"), False))
    assert "  Upstream   first: one\n             second: two\n" in shown


def test_that_there_is_no_account_is_said():
    assert "Upstream   NONE" in text(FirstSecrets(None, None), Upstreams((), simulated=False))
