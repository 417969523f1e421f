"""Merges the gateway into the settings of Claude Code, or takes exactly that out again.

Runs on the developer's machine, out of the set-up script, with what it needs in the environment.
What was there before is kept in a record beside the settings, until it is taken out.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

FOLDER = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
SETTINGS = FOLDER / "settings.json"
RECORD = FOLDER / "claudcode-setup.json"
BACKUP = FOLDER / "settings.json.before-claudcode"


def read(path):
    """Return the JSON object in a file and its text; empty when there is no file."""
    if not path.exists():
        return {}, ""
    text = path.read_text(encoding="utf-8-sig")
    if not text.strip():
        return {}, text
    try:
        value = json.loads(text)
    except ValueError as error:
        sys.exit(f"{path} is not valid JSON ({error}). Nothing was changed: mend it, then rerun.")
    if not isinstance(value, dict) or not isinstance(value.get("env", {}), dict):
        sys.exit(f"{path} is not what Claude Code expects there. Nothing was changed.")
    return value, text


def write(path, text):
    """Replace a file at once, readable for its owner alone; a link stays a link."""
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(dir=target.parent)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.replace(name, target)


def formatted(value, like):
    """Return JSON indented as the text it replaces was."""
    found = re.search(r"\n([ \t]+)\S", like)
    end = "\n" if like.endswith("\n") or not like else ""
    return json.dumps(value, indent=found[1] if found else 2, ensure_ascii=False) + end


def install(wanted):
    settings, text = read(SETTINGS)
    record, _ = read(RECORD)
    had_env = record.get("had_env", "env" in settings)
    env = settings.setdefault("env", {})
    set_before, before = record.get("set", {}), record.get("before", {})
    for name, value in wanted.items():
        if name not in set_before or env.get(name) != set_before[name]:
            before[name] = env.get(name)
        env[name] = value
    for name in set_before:
        if name not in wanted:
            wanted[name] = set_before[name]
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    if text and not BACKUP.exists():
        write(BACKUP, text)
    had_file = record.get("had_file", bool(text))
    kept = {"had_file": had_file, "had_env": had_env, "set": wanted, "before": before}
    # First: settings without a record could never be taken out again.
    write(RECORD, json.dumps(kept, indent=2) + "\n")
    write(SETTINGS, formatted(settings, text))
    print(f"Claude Code is set up in {SETTINGS}.")
    if text:
        print(f"What was there before is in {BACKUP}.")


def uninstall():
    record, kept = read(RECORD)
    if not kept:
        print(f"Nothing of ClaudCode is in {SETTINGS}.")
        return
    settings, text = read(SETTINGS)
    env = settings.get("env", {})
    for name, value in record["set"].items():
        if env.get(name) != value:
            print(f"{name} was changed since, and stays as it is.")
        elif record["before"].get(name) is None:
            del env[name]
        else:
            env[name] = record["before"][name]
    if not env and not record["had_env"]:
        settings.pop("env", None)
    if settings or (text and record["had_file"]):
        write(SETTINGS, formatted(settings, text))
    elif text:
        SETTINGS.unlink()
    for path in (BACKUP, RECORD):
        if path.exists():
            path.unlink()
    print(f"ClaudCode is out of {SETTINGS}.")


def wanted():
    """Return the variables of Claude Code; a family the key may not use is another it may."""
    models = os.environ["CLAUDCODE_MODELS"].split()
    variables = {
        "ANTHROPIC_BASE_URL": os.environ["CLAUDCODE_BASE_URL"],
        "ANTHROPIC_AUTH_TOKEN": os.environ["CLAUDCODE_API_KEY"],
    }
    for family in ("opus", "sonnet", "haiku"):
        served = [model for model in models if family in model] or models
        variables[f"ANTHROPIC_DEFAULT_{family.upper()}_MODEL"] = served[0]
    fable = [model for model in models if "fable" in model]
    if fable:
        variables["ANTHROPIC_DEFAULT_FABLE_MODEL"] = fable[0]
    return variables


try:
    if os.environ["CLAUDCODE_ACTION"] == "install":
        install(wanted())
    else:
        uninstall()
except OSError as error:
    sys.exit(f"Cannot write Claude Code's settings: {error}")
