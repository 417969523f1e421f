"""What `manage.py up` prints when it is ready: where to go, what to paste, what is shown once."""

import shlex
from pathlib import Path

from claudcode.first_run import OPERATOR, FirstSecrets, Upstreams

EXAMPLE_MODEL = "claude-haiku-4-5"
PLACEHOLDER = "sk-cc-YOUR-KEY"


def welcome(base_url: str, secrets: FirstSecrets, upstreams: Upstreams, state: Path) -> str:
    """Return the text."""
    return "\n".join(
        [
            "",
            "ClaudCode is ready.",
            "",
            f"  Base URL   {base_url}   (with or without /v1)",
            f"  Developers {base_url}/   (documentation, try it, status; use at /usage/)",
            f"  Admin      {base_url}/admin/",
            *_operator(secrets),
            *_key(secrets),
            *_upstream(upstreams),
            f"  State      {state}",
            "",
            "Try it:",
            "",
            example(base_url, secrets.api_key or PLACEHOLDER),
            "",
            "Ctrl-C stops everything.",
            "",
        ]
    )


def example(base_url: str, key: str) -> str:
    """Return a command that works when pasted, if `key` is a real one."""
    body = (
        f'{{"model":"{EXAMPLE_MODEL}","max_tokens":100,'
        '"messages":[{"role":"user","content":"Hello"}]}'
    )
    return " \\\n".join(
        [
            f"  curl {base_url}/v1/messages",
            f"    -H {shlex.quote(f'x-api-key: {key}')}",
            "    -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json'",
            f"    -d {shlex.quote(body)}",
        ]
    )


def _operator(secrets: FirstSecrets) -> list[str]:
    if secrets.operator_password is None:
        return []
    return [
        f"  Operator   {OPERATOR}",
        f"  Password   {secrets.operator_password}   (shown this once; replace it at sign-in)",
    ]


def _key(secrets: FirstSecrets) -> list[str]:
    if secrets.api_key is None:
        return ["  API key    shown when it was issued; `manage.py apikey_issue` makes another"]
    return [f"  API key    {secrets.api_key}   (shown this once)"]


def _upstream(upstreams: Upstreams) -> list[str]:
    if upstreams.simulated:
        return [
            "  Upstream   THE SIMULATOR. Answers are made up: there is no Anthropic credential.",
            "             Add an account in the admin and it is used at once; or set",
            "             ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN) and start again.",
            "  Web tools  made up too, until there is a credential for Tavily (docs/mcp.md).",
        ]
    if not upstreams.lines:
        return ["  Upstream   NONE. Every account is disabled: enable one in the admin."]
    labels = ["Upstream", *[""] * (len(upstreams.lines) - 1)]
    return [f"  {label:<10} {line}" for label, line in zip(labels, upstreams.lines, strict=True)]
