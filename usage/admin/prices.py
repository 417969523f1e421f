"""The console's page of prices: typed in USD per million tokens, kept in nano-dollars a token."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from keys.admin.base import ServiceAdmin, acting
from usage import services
from usage.core.price import nanousd_per_token
from usage.models import Price

# What is typed, and the column it becomes.
TOKEN_RATES = {
    "input_usd": "input_nanousd",
    "output_usd": "output_nanousd",
    "cache_creation_usd": "cache_creation_nanousd",
    "cache_creation_1h_usd": "cache_creation_1h_nanousd",
    "cache_read_usd": "cache_read_nanousd",
}
NANOUSD_PER_SEARCH = 1_000_000  # At 1 USD per thousand searches.
PLAIN = ("model", "starts_at", "prompt_tokens_min", "us_percent")


def _usd_field(label: str, per: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=f"{label}, USD",
        # Ten thousand dollars a million tokens: beyond it a decimal point was forgotten.
        min_value=Decimal(0),
        max_value=Decimal(10_000),
        decimal_places=3,
        help_text=f"US dollars per {per}.",
        widget=UnfoldAdminDecimalFieldWidget,
    )


class PriceForm(forms.ModelForm):
    """A price as its list prints it."""

    input_usd = _usd_field("Input", "million tokens")
    output_usd = _usd_field("Output", "million tokens")
    cache_creation_usd = _usd_field("5-minute cache write", "million tokens")
    cache_creation_1h_usd = _usd_field("1-hour cache write", "million tokens")
    cache_read_usd = _usd_field("Cache read", "million tokens")
    web_search_usd = _usd_field("Web search", "thousand searches")

    class Meta:
        model = Price
        fields = PLAIN

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial |= typed(self.instance)

    def price_fields(self) -> services.PriceFields:
        """Return what the form says in the words of the service."""
        said = self.cleaned_data
        fields: dict[str, Any] = {name: said[name] for name in PLAIN}
        fields |= {column: nanousd_per_token(said[name]) for name, column in TOKEN_RATES.items()}
        fields["web_search_nanousd"] = int(said["web_search_usd"] * NANOUSD_PER_SEARCH)
        return services.PriceFields(**fields)


@admin.register(Price)
class PriceAdmin(ServiceAdmin):
    """Prices. A new list is a new row; an old one stays, since the ledger was charged by it."""

    form = PriceForm
    fields = (*PLAIN[:3], *TOKEN_RATES, "web_search_usd", "us_percent")
    list_display = (
        "model",
        "starts_at",
        "prompt_tokens_min",
        *TOKEN_RATES,
        "web_search_usd",
        "us_percent",
    )
    list_select_related = ("model",)
    list_filter = ("model",)

    def has_delete_permission(self, _request: HttpRequest, _obj: Price | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Price, form: PriceForm, change: bool) -> None:
        stored = services.price_set(
            price=obj if change else None, fields=form.price_fields(), **acting(request)
        )
        obj.pk = stored.pk
        obj.refresh_from_db()

    @display(description="input $/M")
    def input_usd(self, price: Price) -> str:
        return _shown(price, "input_usd")

    @display(description="output $/M")
    def output_usd(self, price: Price) -> str:
        return _shown(price, "output_usd")

    @display(description="5-minute write $/M")
    def cache_creation_usd(self, price: Price) -> str:
        return _shown(price, "cache_creation_usd")

    @display(description="1-hour write $/M")
    def cache_creation_1h_usd(self, price: Price) -> str:
        return _shown(price, "cache_creation_1h_usd")

    @display(description="cache read $/M")
    def cache_read_usd(self, price: Price) -> str:
        return _shown(price, "cache_read_usd")

    @display(description="web search $/K")
    def web_search_usd(self, price: Price) -> str:
        return _shown(price, "web_search_usd")


def typed(price: Price) -> dict[str, Decimal]:
    """Return the rates of `price` as they are typed."""
    rates = {name: _decimal(getattr(price, column), 1_000) for name, column in TOKEN_RATES.items()}
    return rates | {"web_search_usd": _decimal(price.web_search_nanousd, NANOUSD_PER_SEARCH)}


def _decimal(amount: int, unit: int) -> Decimal:
    return Decimal(amount) / unit


def _shown(price: Price, name: str) -> str:
    return f"{typed(price)[name]:,.3f}".rstrip("0").rstrip(".")
