"""What models cost, from when on."""

from django.db import models
from django.db.models import Q

from keys.models import ClaudeModel


class Price(models.Model):
    """Rates of a model from `starts_at`, for prompts of at least `prompt_tokens_min` tokens.

    In nano-dollars: a token at 1 USD per million is 1,000. A new list is a new row; the ledger
    keeps what each exchange cost at the price in force.
    """

    model = models.ForeignKey(
        ClaudeModel, models.PROTECT, to_field="model_id", related_name="prices"
    )
    starts_at = models.DateTimeField(help_text="In force from this instant on.")
    prompt_tokens_min = models.PositiveIntegerField(
        default=0,
        verbose_name="prompt tokens from",
        help_text="The band of long prompts starts here. 0: all prompts.",
    )
    input_nanousd = models.PositiveBigIntegerField()
    output_nanousd = models.PositiveBigIntegerField()
    cache_creation_nanousd = models.PositiveBigIntegerField()
    cache_creation_1h_nanousd = models.PositiveBigIntegerField()
    cache_read_nanousd = models.PositiveBigIntegerField()
    web_search_nanousd = models.PositiveBigIntegerField(default=0)
    us_percent = models.PositiveSmallIntegerField(
        default=100,
        verbose_name="US inference, percent",
        help_text="Factor on token rates for US inference. 100: no change.",
    )

    class Meta:
        ordering = ("model", "-starts_at", "prompt_tokens_min")
        constraints = (
            models.UniqueConstraint(
                fields=("model", "starts_at", "prompt_tokens_min"), name="price_unique"
            ),
            models.CheckConstraint(condition=Q(us_percent__gte=1), name="price_us_percent"),
        )

    def __str__(self) -> str:
        band = f" from {self.prompt_tokens_min:,} tokens" if self.prompt_tokens_min else ""
        return f"{self.model_id} from {self.starts_at:%Y-%m-%d}{band}"
