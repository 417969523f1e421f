"""A credential on a form: it goes in and never comes out. Knows no account."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanWidget

from proxy.services import require_credential

KEEP = "Leave empty to keep what is stored. It is never shown again."
NO_KEY = "It cannot be stored: CLAUDCODE_CREDENTIAL_KEYS is not set."


class CredentialForm(forms.ModelForm):
    """The form of a row with a sealed credential, which is replaced, removed or left as it is."""

    new_credential = forms.CharField(
        required=False,
        label="Credential",
        max_length=4096,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    remove_credential = forms.BooleanField(required=False, widget=UnfoldBooleanWidget)
    # What stands beside the fields, for each kind of row.
    credential_help = ""
    removal_label = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_credential"].help_text = self.credential_help
        self.fields["remove_credential"].label = self.removal_label
        if self.instance.credential is not None:
            self.fields["new_credential"].help_text = format_html(
                "Stored: <code>{}</code>. {}", self.instance.credential_hint, KEEP
            )

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
        if cleaned.get("new_credential") and cleaned.get("remove_credential"):
            raise ValidationError({"remove_credential": "Either none, or a new one."})
        return cleaned

    def wanted_credential(self) -> str | None:
        """Return what the services take: a new one, "" for none, `None` to keep it."""
        if self.cleaned_data.get("remove_credential"):
            return ""
        return self.cleaned_data.get("new_credential") or None
