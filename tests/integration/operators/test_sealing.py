"""Keys of authenticator apps and secrets of webhooks are sealed at rest, through a rotation too."""

from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from keys.models import AuditEvent
from operators import second_factor
from operators.alerts.models import AlertTarget
from operators.alerts.services import target_add
from operators.factor_key import KeyUnreadable
from operators.models import AuthenticatorApp
from operators.services import second_factor_confirm
from proxy.credentials import unseal
from tests.factories import a_stranger

pytestmark = pytest.mark.django_db

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
HOOK = "https://93.184.216.34/x"


@pytest.fixture(autouse=True)
def sealing(settings):
    settings.CREDENTIAL_KEYS = [OLD]


def shown(device, steps=0) -> str:
    """What the app shows; a code is good once, so each use is of another half-minute."""
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits)
    totp.time = totp.time + steps * device.step
    return f"{totp.token():06d}"


def set_up(user) -> AuthenticatorApp:
    device = second_factor.begun(user)
    assert second_factor_confirm(user=user, code=shown(device, -1), acting_address=None)
    return second_factor.factor_of(user)


def rotate() -> str:
    said = StringIO()
    call_command("credentials_rotate", stdout=said)
    return said.getvalue()


def test_the_key_of_an_app_is_not_in_the_database():
    device = set_up(a_stranger())
    assert len(device.bin_key) == 20
    assert device.bin_key.hex() not in TOTPDevice.objects.get().key
    assert second_factor.verify(device.user, shown(device)) is second_factor.Passed.APP


def test_a_key_that_is_copied_to_another_account_opens_nothing():
    device, thief = set_up(a_stranger()), a_stranger()
    code = shown(device)
    AuthenticatorApp.objects.update(user=thief)
    with pytest.raises(KeyUnreadable):
        AuthenticatorApp.objects.get().bin_key  # noqa: B018
    assert second_factor.verify(thief, code) is None


def test_without_a_sealing_key_it_is_stored_as_it_is_and_sealed_later(settings):
    settings.CREDENTIAL_KEYS = []
    device = set_up(a_stranger())
    assert TOTPDevice.objects.get().key == device.bin_key.hex()
    settings.CREDENTIAL_KEYS = [OLD]
    assert "second factors: sealed anew 1," in rotate()
    assert TOTPDevice.objects.get().key != device.bin_key.hex()
    assert second_factor.verify(device.user, shown(device)) is second_factor.Passed.APP


def test_both_keys_work_while_they_are_rotated_and_then_the_new_one_alone(settings):
    device = set_up(a_stranger())
    _target, secret = target_add(name="h", channel="webhook", address=HOOK, acting_user=None)
    settings.CREDENTIAL_KEYS = [NEW, OLD]
    assert second_factor.verify(device.user, shown(device)) is second_factor.Passed.APP
    assert unseal(AlertTarget.objects.get().secret, HOOK) == secret
    said = rotate()
    assert "webhooks: sealed anew 1," in said
    assert "second factors: sealed anew 1," in said
    assert "sealed anew 1" not in rotate()
    settings.CREDENTIAL_KEYS = [NEW]
    device = second_factor.factor_of(device.user)
    assert second_factor.verify(device.user, shown(device, 1)) is second_factor.Passed.APP
    assert unseal(AlertTarget.objects.get().secret, HOOK) == secret
    rotated = AuditEvent.objects.filter(action__endswith=".rotate").values_list("action", flat=True)
    assert sorted(rotated) == ["alert_target.rotate", "second_factor.rotate"]


def test_what_no_key_opens_is_said_and_stays(settings):
    device = set_up(a_stranger())
    target_add(name="pager", channel="webhook", address=HOOK, acting_user=None)
    before = TOTPDevice.objects.get().key
    settings.CREDENTIAL_KEYS = [NEW]
    with pytest.raises(CommandError) as raised:
        rotate()
    assert "webhooks of pager" in str(raised.value)
    assert f"second factors of {device.user.username}" in str(raised.value)
    assert TOTPDevice.objects.get().key == before
    assert second_factor.verify(device.user, "123456") is None


def test_a_key_that_was_begun_and_cannot_be_opened_is_drawn_anew(settings):
    user = a_stranger()
    before = second_factor.begun(user).bin_key
    settings.CREDENTIAL_KEYS = [NEW]
    assert second_factor.begun(user).bin_key != before
    assert TOTPDevice.objects.count() == 1
