"""Anthropic's list prices of the three documented models, from the day each was released.

Source: https://platform.claude.com/docs/en/about-claude/pricing, August 2026. All prompt lengths
cost the same. A 5-minute cache write costs 1.25 times the input, a 1-hour one twice, a read a
tenth; inference in the US a tenth more, where the model offers it; web search 10 USD a thousand.
"""

from django.db import migrations

# Model, nano-dollars: input, output, 5-minute write, 1-hour write, read; US inference in percent.
LIST_PRICES = [
    ("claude-opus-4-6", 5_000, 25_000, 6_250, 10_000, 500, 110),
    ("claude-sonnet-4-6", 3_000, 15_000, 3_750, 6_000, 300, 110),
    ("claude-haiku-4-5", 1_000, 5_000, 1_250, 2_000, 100, 100),
]
WEB_SEARCH_NANOUSD = 10_000_000


def add(apps, _schema_editor):
    prices = apps.get_model("usage", "Price").objects
    claude_models = apps.get_model("keys", "ClaudeModel").objects.in_bulk(field_name="model_id")
    for model_id, input_, output, creation, creation_1h, read, us_percent in LIST_PRICES:
        prices.create(
            model_id=model_id,
            starts_at=claude_models[model_id].released_at,
            input_nanousd=input_,
            output_nanousd=output,
            cache_creation_nanousd=creation,
            cache_creation_1h_nanousd=creation_1h,
            cache_read_nanousd=read,
            web_search_nanousd=WEB_SEARCH_NANOUSD,
            us_percent=us_percent,
        )


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial"), ("keys", "0002_documented_models")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
