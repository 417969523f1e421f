"""What is kept of an operator beside Django's account and the devices of django-otp."""

from django.conf import settings
from django.db import models
from django.utils import timezone


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
