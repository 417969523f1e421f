"""Webhooks do not lead into private networks or to this machine, unless a setting allows it."""

import pytest
from django.core.exceptions import ValidationError

from operators.alerts.models import AlertTarget
from operators.alerts.services import target_add

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealing")]


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://2130706433/",  # 127.0.0.1 as one number.
        "https://0x7f.1/",
        "https://10.0.0.1:8443/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1]/",
        "https://224.0.0.1/",
        "http://93.184.216.34/",  # Plain http.
    ],
)
def test_they_are_refused_as_they_are_saved(address):
    with pytest.raises(ValidationError):
        target_add(name="hook", channel="webhook", address=address, acting_user=None)
    assert not AlertTarget.objects.exists()


def test_a_public_address_is_taken():
    made, secret = target_add(
        name="hook", channel="webhook", address="https://93.184.216.34/x", acting_user=None
    )
    assert made.masked == "https://93.184.216.34/…"
    assert secret.startswith("whsec_")


def test_the_setting_allows_them(settings):
    settings.ALERT_LOCAL_TARGETS = True
    given = {"channel": "webhook", "address": "http://127.0.0.1:9/", "acting_user": None}
    assert target_add(name="hook", **given)[0].pk


def test_without_a_key_to_seal_with_there_is_no_webhook(settings):
    settings.CREDENTIAL_KEYS = []
    with pytest.raises(ValidationError, match="CLAUDCODE_CREDENTIAL_KEYS"):
        target_add(
            name="hook", channel="webhook", address="https://93.184.216.34/", acting_user=None
        )
