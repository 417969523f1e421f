"""The client that all examples share: base URL, key and model come from .env beside this file."""

from pathlib import Path

import anthropic
from dotenv import dotenv_values

ENV_FILE = Path(__file__).with_name(".env")
settings = dotenv_values(ENV_FILE)

if not settings.get("CLAUDCODE_API_KEY") or not settings.get("CLAUDCODE_BASE_URL"):
    raise SystemExit(f"{ENV_FILE} has to set CLAUDCODE_BASE_URL and CLAUDCODE_API_KEY.")

MODEL = settings.get("CLAUDCODE_MODEL") or "claude-sonnet-4-6"
client = anthropic.Anthropic(
    base_url=settings["CLAUDCODE_BASE_URL"],
    api_key=settings["CLAUDCODE_API_KEY"],
)
