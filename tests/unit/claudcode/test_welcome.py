"""What the first start shows, and the second does not."""

from pathlib import Path

from claudcode.first_run import FirstSecrets
from claudcode.welcome import PLACEHOLDER, Upstream, welcome

CLAUDE = Upstream("https://api.anthropic.com", simulated=False)


def text(secrets: FirstSecrets, upstream: Upstream = CLAUDE) -> str:
    return welcome("http://127.0.0.1:8000", secrets, upstream, Path("/state"))


def test_a_first_start_shows_password_and_key_and_a_curl_with_it():
    shown = text(FirstSecrets("the-password", "sk-cc-the-key"))
    assert "the-password   (shown this once)" in shown
    assert "-H 'x-api-key: sk-cc-the-key'" in shown


def test_a_later_start_shows_no_secret():
    shown = text(FirstSecrets(None, None))
    assert "Password" not in shown
    assert f"-H 'x-api-key: {PLACEHOLDER}'" in shown


def test_the_simulator_is_announced_loudly():
    assert "THE SIMULATOR" in text(FirstSecrets(None, None), Upstream("", simulated=True))


def test_a_real_upstream_is_named():
    assert "https://api.anthropic.com" in text(FirstSecrets(None, None))
