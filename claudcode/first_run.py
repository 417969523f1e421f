"""What an empty installation gets once: an operator who can sign in, and a first API key."""

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from keys.models import ApiKey
from keys.services import apikey_issue

OPERATOR = "operator"
FIRST_KEY = "first key"


@dataclass(frozen=True, slots=True)
class FirstSecrets:
    """Secrets made by this start, to be shown once; `None` for one that exists already."""

    operator_password: str | None
    api_key: str | None


@transaction.atomic
def first_secrets() -> FirstSecrets:
    """Make the operator if nobody can administer, and a key if there is none."""
    operator = User.objects.filter(is_superuser=True).order_by("pk").first()
    password = None
    if operator is None:
        password = secrets.token_urlsafe(15)
        operator = User.objects.create_superuser(OPERATOR, password=password)
    if ApiKey.objects.exists():
        return FirstSecrets(password, None)
    _, secret = apikey_issue(name=FIRST_KEY, acting_user=operator)
    return FirstSecrets(password, secret.text)
