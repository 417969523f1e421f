"""The projects that set-up scripts write, run as their README says, against the gateway.

Packages come from what the tests have installed instead of from a registry.
"""

import re
import sys

import pytest

from tests.factories import a_spec

ENOUGH = {"rpm": 60, "concurrency": 5}
TOOL_CALL = re.compile(r'^\[calls local_time with \{"utc_offset_hours": ?-?\d+\}\]\n.+', re.DOTALL)


@pytest.fixture
def holder(a_developer):
    return a_developer(**ENOUGH, budgets=[a_spec(window_s=5 * 3600, limit=5_000_000)])


@pytest.fixture
def python(machine, holder):
    """Run a program of the Python project."""
    machine.setup(holder.secret, LANGUAGE="python")
    return lambda *words: machine.run(sys.executable, *words)


@pytest.fixture
def typescript(machine, holder, node, node_folder):
    """Run a program of the TypeScript project."""
    machine.setup(holder.secret, LANGUAGE="typescript")
    (machine.project / "node_modules").symlink_to(node_folder / "node_modules")
    return lambda *words: machine.run(node, "--import", "tsx", *words)


def test_the_python_project_answers(python):
    assert python("hello.py", '[[sim:say="Hello there"]]') == "Hello there\n"
    streamed = python("streaming.py", '[[sim:say="One two"]]')
    assert re.fullmatch(r"One two\n\[\d+ tokens in, \d+ out\]\n", streamed)
    assert TOOL_CALL.match(python("tool_use.py"))
    status = python("budget.py")
    assert re.search(r"4,99\d,\d{3} of 5,000,000 tokens left \(5h rolling\)", status)
    assert "Requests a minute: 60.\nRequests at once: 5.\n" in status


@pytest.mark.node
def test_the_typescript_project_answers(typescript):
    assert typescript("hello.ts", '[[sim:say="Hello there"]]') == "Hello there\n"
    streamed = typescript("streaming.ts", '[[sim:say="One two"]]')
    assert re.fullmatch(r"One two\n\[\d+ tokens in, \d+ out\]\n", streamed)
    assert TOOL_CALL.match(typescript("tool_use.ts"))
    status = typescript("budget.ts")
    assert re.search(r"4,99\d,\d{3} of 5,000,000 tokens left \(5h rolling\)", status)
    assert "Requests a minute: 60.\nRequests at once: 5.\n" in status


@pytest.mark.node
def test_the_typescript_project_has_its_types_right(typescript, machine, node):
    assert machine.run(node, "node_modules/typescript/bin/tsc") == ""


def test_a_key_without_limits_is_told_so(machine, a_developer):
    machine.setup(a_developer(rpm=None, concurrency=None, budgets=[]).secret)
    status = machine.run(sys.executable, "budget.py")
    assert "No token budget limits this key." in status
    assert "Requests a minute: unlimited." in status
