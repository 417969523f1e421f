"""The form of an upstream account. A credential goes in and never comes out."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanWidget

from keys.changes import require_offered
from proxy.accounts import ANTHROPIC
from proxy.core.account import BadAddress, parse_base_url
from proxy.models import Source, UpstreamAccount
from proxy.services import require_credential, require_credential_again

KEEP = "Leave empty to keep what is stored. It is never shown again."
NO_KEY = "It cannot be stored: CLAUDCODE_CREDENTIAL_KEYS is not set."


class UpstreamAccountForm(forms.ModelForm):
    """The fields of an account, checked as the services check them."""

    new_credential = forms.CharField(
        required=False,
        label="Credential",
        max_length=4096,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Stored sealed and never shown again. Empty: none is sent.",
    )
    remove_credential = forms.BooleanField(
        required=False, label="Send no credential", widget=UnfoldBooleanWidget
    )

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
        if self.instance.credential is not None:
            self.fields["new_credential"].help_text = format_html(
                "Stored: <code>{}</code>. {}", self.instance.credential_hint, KEEP
            )

    def clean_base_url(self) -> str:
        try:
            return parse_base_url(self.cleaned_data["base_url"])
        except BadAddress as error:
            raise ValidationError(str(error)) from error

    def clean_new_credential(self) -> str:
        credential = self.cleaned_data["new_credential"].strip()
        if credential:
            try:
                require_credential(credential)
            except ValidationError as error:
                raise ValidationError(error.messages) from error
            if not settings.CREDENTIAL_KEYS:
                raise ValidationError(NO_KEY)
        return credential

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "models" in self.changed_data:
            require_offered(cleaned.get("models") or [])
        if cleaned.get("new_credential") and cleaned.get("remove_credential"):
            raise ValidationError({"remove_credential": "Either send none, or give a new one."})
        stays = self.instance.credential is not None and self.wanted_credential() is None
        if stays and self.instance.credential_source == Source.STORED and cleaned.get("base_url"):
            self._require_credential_again(cleaned["base_url"])
        return cleaned

    def wanted_credential(self) -> str | None:
        """Return what the services take: a new one, "" to send none, `None` to keep it."""
        if self.cleaned_data.get("remove_credential"):
            return ""
        return self.cleaned_data.get("new_credential") or None

    def _require_credential_again(self, base_url: str) -> None:
        try:
            require_credential_again(self.initial["base_url"], base_url)
        except ValidationError as error:
            self.add_error("new_credential", error.messages)
