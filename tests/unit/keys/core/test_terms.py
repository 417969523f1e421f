from dataclasses import replace

import pytest

from keys.core.access import Hangup
from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.core.terms import Terms, excesses

HOUR = BudgetSpec(Unit.TOKENS, 3600, 1000)
MOST = Terms(
    rpm=60,
    concurrency=5,
    wait_s=10,
    models=("claude-haiku-*", "claude-sonnet-4-6"),
    cache_enabled=False,
    hangup=Hangup.ABORT,
    budgets=(HOUR,),
)


@pytest.mark.parametrize(
    "tighter",
    [
        pytest.param({}, id="the same"),
        pytest.param({"rpm": 0}, id="no requests"),
        pytest.param({"concurrency": 1}, id="fewer in flight"),
        pytest.param({"wait_s": 0}, id="no waiting"),
        pytest.param({"models": ("claude-haiku-4-5",)}, id="one model of a pattern"),
        pytest.param({"models": ("claude-haiku-4-*",)}, id="a pattern in a pattern"),
        pytest.param({"models": ("claude-sonnet-4-6-20261001",)}, id="a snapshot"),
        pytest.param({"budgets": (replace(HOUR, limit=999),)}, id="a smaller budget"),
        pytest.param({"budgets": (replace(HOUR, strict=True),)}, id="a stricter budget"),
        pytest.param(
            {"budgets": (HOUR, BudgetSpec(Unit.NANOUSD, 60, 1))}, id="a budget of another kind"
        ),
    ],
)
def test_what_is_tighter_is_within(tighter):
    assert excesses(replace(MOST, **tighter), MOST) == []


@pytest.mark.parametrize(
    "wider",
    [
        pytest.param({"rpm": 61}, id="one more request"),
        pytest.param({"rpm": None}, id="requests without a limit"),
        pytest.param({"concurrency": None}, id="in flight without a limit"),
        pytest.param({"wait_s": 11}, id="a longer wait"),
        pytest.param({"models": ()}, id="all models"),
        pytest.param({"models": ("*",)}, id="all models by a star"),
        pytest.param({"models": ("claude-*",)}, id="a wider pattern"),
        pytest.param({"models": ("claude-haiku-4-5", "claude-opus-4-6")}, id="one model too many"),
        pytest.param({"cache_enabled": True}, id="the cache"),
        pytest.param({"hangup": Hangup.DRAIN}, id="reading on"),
        pytest.param({"budgets": ()}, id="no budget"),
        pytest.param({"budgets": (replace(HOUR, limit=1001),)}, id="a larger budget"),
        pytest.param({"budgets": (replace(HOUR, limit=None),)}, id="an unlimited budget"),
        pytest.param({"budgets": (replace(HOUR, anchored=True),)}, id="another kind of window"),
        pytest.param({"budgets": (replace(HOUR, window_s=3599),)}, id="a shorter window"),
    ],
)
def test_what_is_wider_is_said(wider):
    assert len(excesses(replace(MOST, **wider), MOST)) == 1


def test_a_strict_budget_is_not_loosened():
    most = replace(MOST, budgets=(replace(HOUR, strict=True),))
    assert excesses(MOST, most) == ["A budget of at most 1,000 tokens / 1h, strict."]


def test_a_plan_without_limits_allows_everything():
    everything = Terms(None, None, 60, (), True, Hangup.DRAIN)
    assert excesses(everything, everything) == []
    assert excesses(MOST, everything) == []
