"""What is asked at sign-in, and of an account. The services check it again."""

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.http import urlencode
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from operators.oidc.configuration import configured
from operators.sign_in_link import LENGTH_MAX

CODE_LENGTH_MAX = 20


class CodeForm(forms.Form):
    """A code of the authenticator app, or a recovery code."""

    code = forms.CharField(
        max_length=CODE_LENGTH_MAX,
        label="Code",
        help_text="Six digits of your authenticator app, or one of your recovery codes.",
        widget=UnfoldAdminTextInputWidget(
            attrs={
                "autocomplete": "one-time-code",
                "autofocus": True,
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )


class SignInForm(AuthenticationForm):
    """A name and a password, and where else one can sign in."""

    def passwords(self) -> bool:
        """Return whether a password opens anything."""
        return bool(settings.PASSWORD_SIGN_IN)

    def single_sign_on(self) -> str:
        """Return the provider's name, nothing when there is none."""
        return settings.OIDC_NAME if configured() else ""

    def single_sign_on_href(self) -> str:
        """Return the address that leads to the provider, and back to the page that was wanted."""
        wanted = self.request.GET.get("next", "") if self.request else ""
        begin = reverse("operators:oidc_begin")
        return f"{begin}?{urlencode({'next': wanted})}" if wanted else begin


class LinkForm(forms.Form):
    """What stands behind the # of a sign-in link; the page's script puts it there."""

    token = forms.CharField(
        max_length=LENGTH_MAX,
        label="Token",
        help_text="What follows the # in the address. It is good once, for ten minutes.",
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """A new password in place of one's own; it cannot be the old one."""

    def clean_new_password1(self) -> str:
        new = str(self.cleaned_data["new_password1"])
        if self.user.check_password(new):
            raise ValidationError("This is the password you have. Choose another one.")
        return new


class OperatorForm(forms.ModelForm):  # type: ignore[type-arg]
    """An account with its roles."""

    groups = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        required=False,
        label="Roles",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Viewer: sees everything but secrets. Operator: also keys, teams, members,"
        " budgets, maintenance, tests of accounts. Admin: everything, people and credentials too."
        " Team lead: the keys of their own team. None: owns keys, cannot enter the console.",
    )

    class Meta:
        model = User
        fields = ("username", "email", "first_name", "last_name", "is_active")

    def roles(self) -> list[str]:
        """Return the names of the roles that were chosen."""
        return [group.name for group in self.cleaned_data.get("groups", ())]
