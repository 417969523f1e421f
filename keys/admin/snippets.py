"""What a developer pastes to use a new key: ready-made for a shell and the common clients."""

from dataclasses import dataclass

_CURL = """\
curl {base_url}/v1/messages \\
  -H "x-api-key: {secret}" \\
  -H "anthropic-version: 2023-06-01" \\
  -H "content-type: application/json" \\
  -d '{{"model": "{model}", "max_tokens": 256,
       "messages": [{{"role": "user", "content": "Hello"}}]}}'
"""
_PYTHON = """\
import anthropic

client = anthropic.Anthropic(
    base_url="{base_url}",
    api_key="{secret}",
)
message = client.messages.create(
    model="{model}",
    max_tokens=256,
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(message.content[0].text)
"""
_TYPESCRIPT = """\
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({{
  baseURL: "{base_url}",
  apiKey: "{secret}",
}});
const message = await client.messages.create({{
  model: "{model}",
  max_tokens: 256,
  messages: [{{ role: "user", content: "Hello" }}],
}});
console.log(message.content);
"""
_CLAUDE_CODE = """\
export ANTHROPIC_BASE_URL="{base_url}"
export ANTHROPIC_AUTH_TOKEN="{secret}"
claude
"""
_TEXTS = (
    ("curl", _CURL),
    ("Python", _PYTHON),
    ("TypeScript", _TYPESCRIPT),
    ("Claude Code", _CLAUDE_CODE),
)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A few lines to paste, and what for."""

    title: str
    text: str


def snippets(*, base_url: str, secret: str, model: str) -> list[Snippet]:
    """Return how to use `secret` at `base_url`, which ends without a slash."""
    return [
        Snippet(title, text.format(base_url=base_url, secret=secret, model=model).rstrip("\n"))
        for title, text in _TEXTS
    ]
