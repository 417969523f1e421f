"""Which calls are recorded: a share of all, whatever strangers ask for, unless they are trusted.

A share by trace id would not do: who calls chooses the trace id, and could choose to be recorded.
"""

import random
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes


class Share(Sampler):
    """Records a share of all, by chance."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,  # noqa: ARG002
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,  # noqa: ARG002
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Decide about one span."""
        chosen = random.random() < self._ratio
        decision = Decision.RECORD_AND_SAMPLE if chosen else Decision.DROP
        parent = get_current_span(parent_context).get_span_context()
        return SamplingResult(decision, attributes if chosen else None, parent.trace_state)

    def get_description(self) -> str:
        """Return it in words."""
        return f"Share{{{self._ratio:g}}}"


def sampler(ratio: float, *, trust_callers: bool) -> Sampler:
    """Return who decides: what begins here, and what callers began unless they are trusted, by
    `ratio`; spans inside a call as the call.
    """
    share = Share(ratio)
    if trust_callers:
        return ParentBased(share)
    return ParentBased(share, remote_parent_sampled=share, remote_parent_not_sampled=share)
