"""A visitor of the sign-in, and what they type."""

import time

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from operators import services

PASSWORD = "correct horse battery"
ADDRESS = "192.0.2.7"


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    """A hash that is not slow on purpose."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def visitor() -> Client:
    return Client(REMOTE_ADDR=ADDRESS)


@pytest.fixture
def person(db) -> User:
    """An admin with a password of their own."""
    user, _ = services.operator_add(username="ada", roles=["admin"], acting_user=None)
    user.set_password(PASSWORD)
    user.save()
    services.password_changed(user=user, acting_address=None)
    return user


@pytest.fixture
def sign_in(visitor):
    """Send the form of the sign-in."""

    def send(username="ada", password=PASSWORD, client=visitor, **fields):
        given = {"username": username, "password": password}
        return client.post(reverse("admin:login"), given | fields)

    return send


@pytest.fixture
def factor(person) -> TOTPDevice:
    """The authenticator app of `person`, in force."""
    return TOTPDevice.objects.create(user=person, name="app", confirmed=True)


def shown_by(device: TOTPDevice, steps: int = 0) -> str:
    """Return what the app shows now, or `steps` half-minutes later."""
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits)
    totp.time = time.time() + steps * device.step
    return f"{totp.token():06d}"
