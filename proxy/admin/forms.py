"""The form of an upstream account."""

from typing import Any

from django.core.exceptions import ValidationError

from keys.changes import require_offered
from proxy.accounts import ANTHROPIC
from proxy.admin.credential import CredentialForm
from proxy.core.account import BadAddress, parse_base_url
from proxy.models import Source, UpstreamAccount
from proxy.services import require_credential_again


class UpstreamAccountForm(CredentialForm):
    """The fields of an account, checked as the services check them."""

    credential_help = "Stored sealed and never shown again. Empty: none is sent."
    removal_label = "Send no credential"

    class Meta:
        model = UpstreamAccount
        fields = (
            "name",
            "base_url",
            "auth",
            "priority",
            "weight",
            "concurrency",
            "rpm",
            "models",
            "enabled",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            self.fields["base_url"].initial = ANTHROPIC

    def clean_base_url(self) -> str:
        try:
            return parse_base_url(self.cleaned_data["base_url"])
        except BadAddress as error:
            raise ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "models" in self.changed_data:
            require_offered(cleaned.get("models") or [])
        stays = self.instance.credential is not None and self.wanted_credential() is None
        if stays and self.instance.credential_source == Source.STORED and cleaned.get("base_url"):
            self._require_credential_again(cleaned["base_url"])
        return cleaned

    def _require_credential_again(self, base_url: str) -> None:
        try:
            require_credential_again(self.initial["base_url"], base_url)
        except ValidationError as error:
            self.add_error("new_credential", error.messages)
