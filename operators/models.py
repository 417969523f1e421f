"""What is kept of an operator beside Django's account and the devices of django-otp."""

import logging

from django.conf import settings
from django.db import models
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from operators import factor_key

logger = logging.getLogger(__name__)


class TemporaryPassword(models.Model):
    """The account's password was made by someone else: it opens only the page that replaces it."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="temporary_password",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"since {self.created_at:%Y-%m-%d %H:%M}"


class ExternalIdentity(models.Model):
    """Whom an identity provider knows the account as. It never goes by an e-mail address."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="external_identities"
    )
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("issuer", "subject"), name="external_identity_once"),
            models.UniqueConstraint(fields=("user", "issuer"), name="external_identity_of_account"),
        )

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"


class AuthenticatorApp(TOTPDevice):  # type: ignore[misc]
    """django-otp's device, in its table, with a key that is sealed at rest."""

    class Meta:
        proxy = True

    @property
    def bin_key(self) -> bytes:
        """The key. Raises `KeyUnreadable`."""
        return factor_key.unseal(self.key, self.user_id)

    def verify_token(self, token: str) -> bool:
        """Use up a code of the app; no code fits a key that nobody can open."""
        try:
            verified: bool = super().verify_token(token)
        except factor_key.KeyUnreadable:
            logger.error("the second factor of account %s cannot be opened", self.user_id)
            return False
        return verified
