"""Traces as a collector receives them, and that nobody's exchange hangs on it."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from claudcode import env
from tests.acceptance.developer import Developer, a_name, a_question
from tests.acceptance.gateway_process import GatewayProcess, free_port
from tests.acceptance.observed.conftest import OVERLOADED_MODEL
from tests.factories import a_key_and_secret
from tests.waiting import wait_until

HAIKU = "claude-haiku-4-5"
ORIGIN = ("00-" + "ab" * 16 + "-" + "cd" * 8 + "-01", "ab" * 16, "cd" * 8)
NOT_SAMPLED = "00-" + "ef" * 16 + "-" + "cd" * 8 + "-00"


def a_gateway(installation, settings):
    return GatewayProcess(installation, "http://127.0.0.1:9", **settings)


def a_stranger(http, gateway):
    """Somebody with a key, at another gateway."""
    fields = {"rpm": None, "concurrency": None, "cache_enabled": False}
    return Developer(http, gateway.url, *a_key_and_secret(**fields))


@pytest.fixture
def uncached(a_developer):
    return a_developer(rpm=None, concurrency=None, cache_enabled=False)


def test_a_stream_is_a_call_and_the_account_that_answered(collector, uncached):
    with uncached.listen("[[sim:tokens=20]] Hello") as answer:
        said = [json.loads(line[6:]) for line in answer.iter_lines() if line[:6] == "data: "]
    server, (asked,) = collector.call(answer.headers["request-id"])
    began, ended = said[0]["message"], said[-2]
    assert server.name == "POST /v1/messages"
    assert server.attributes["http.route"] == "/v1/messages"
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["claudcode.key.id"] == uncached.apikey.pk
    assert server.attributes["claudcode.cache"] == "bypass"
    assert server.attributes["claudcode.cost.nanousd"] > 0
    assert not server.failed
    assert asked.name == f"chat {HAIKU}"
    assert asked.trace_id == server.trace_id
    assert "first byte" in asked.events
    told = asked.attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "anthropic"
    assert told["gen_ai.request.model"] == HAIKU
    assert told["gen_ai.request.max_tokens"] == 1000
    assert told["gen_ai.request.stream"] is True
    assert told["gen_ai.response.id"] == began["id"]
    assert told["gen_ai.response.model"] == began["model"]
    assert told["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert told["gen_ai.usage.output_tokens"] == ended["usage"]["output_tokens"]
    assert told["gen_ai.usage.input_tokens"] == began["usage"]["input_tokens"]
    assert told["gen_ai.response.time_to_first_chunk"] > 0
    assert told["claudcode.upstream.account"] == "fine"


def test_each_account_that_was_tried_has_a_span(collector, uncached):
    answer = uncached.ask(model=OVERLOADED_MODEL)
    assert answer.status_code == 200
    server, tried = collector.call(answer.headers["request-id"])
    first, second = tried
    assert first.attributes["claudcode.upstream.account"] == "overloaded"
    assert first.attributes["error.type"] == "529"
    assert first.attributes["http.response.status_code"] == 529
    assert (first.failed, second.failed, server.failed) == (True, False, False)
    assert second.attributes["claudcode.upstream.account"] == "fine"
    assert second.attributes["gen_ai.response.id"] == answer.json()["id"]


def test_an_error_of_upstream_marks_the_span_of_the_account(collector, uncached):
    answer = uncached.ask("[[sim:status=400]]")
    server, (asked,) = collector.call(answer.headers["request-id"])
    assert asked.failed
    assert asked.attributes["http.response.status_code"] == 400
    assert server.attributes["http.response.status_code"] == 400
    assert "gen_ai.usage.output_tokens" not in asked.attributes


def test_who_is_refused_leaves_a_span_that_says_why(collector, uncached):
    answer = uncached.ask(model="claude-nobody-knows")
    server, inside = collector.call(answer.headers["request-id"])
    assert (server.attributes["error.type"], inside) == ("permission_error", [])


@pytest.fixture
def cached(a_developer):
    return a_developer(rpm=None, concurrency=None, cache_enabled=True)


def test_an_answer_of_the_cache_asks_no_account(collector, cached):
    question = a_name()
    first, second = cached.ask(question), cached.ask(question)
    assert second.headers["x-cache"] == "HIT"
    server, inside = collector.call(second.headers["request-id"])
    assert inside == []
    assert server.attributes["claudcode.cache"] == "hit"
    assert server.attributes["claudcode.cache.source"] == first.headers["request-id"]


def test_who_follows_anothers_answer_says_so(collector, cached):
    question = f"{a_name()} [[sim:slow seconds=1]]"
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: cached.ask(question), range(2)))
    (follower,) = [answer for answer in answers if answer.headers["x-cache"] == "HIT"]
    server, inside = collector.call(follower.headers["request-id"])
    assert inside == []
    assert "follows an identical request" in server.events


def test_web_tools_have_spans_between_the_rounds(collector, a_developer):
    wanted = json.dumps({"query": "owls"})
    body = a_question(f"[[sim:tool=web_search input='{wanted}']] Owls?")
    headers = {"x-claudcode-tools": "web"}
    answer = a_developer().post("/v1/messages", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    _server, inside = collector.call(answer.headers["request-id"])
    names = [span.name for span in inside]
    assert names == [f"chat {HAIKU}", "execute_tool search", f"chat {HAIKU}"]
    told = inside[1].attributes
    assert told["gen_ai.tool.name"] == "search"
    assert told["gen_ai.tool.call.id"].startswith("toolu_")
    assert "owls" not in str(inside)


def test_the_trace_of_a_caller_goes_on(collector, uncached):
    """Whatever an SDK of OpenTelemetry puts into the headers."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("a client")
    with tracer.start_as_current_span("work") as work:
        headers = {}
        TraceContextTextMapPropagator().inject(headers, set_span_in_context(work))
        answer = uncached.post("/v1/messages", json=a_question(), headers=headers)
    server, _inside = collector.call(answer.headers["request-id"])
    context = work.get_span_context()
    assert server.trace_id == format_trace_id(context.trace_id)
    assert server.parent_id == f"{context.span_id:016x}"


def test_upstream_is_told_no_ids_unless_asked_for(uncached):
    headers = {"traceparent": ORIGIN[0], "tracestate": "vendor=secret", "baggage": "user=me"}
    answer = uncached.post("/v1/messages", json=a_question("[[sim:echo headers]]"), headers=headers)
    arrived = answer.json()["content"][0]["text"]
    assert "traceparent" not in arrived
    assert "vendor=secret" not in arrived
    assert "baggage" not in arrived


def test_log_lines_of_a_call_carry_its_trace(collector, gateway, uncached):
    answer = uncached.ask("[[sim:status=500]]")
    server, _inside = collector.call(answer.headers["request-id"])
    lines = [json.loads(line) for line in gateway.log().splitlines() if server.trace_id in line]
    assert [line["span_id"] for line in lines if line["message"] == "answered"] == [server.span_id]


def test_senders_say_who_they_are(collector, uncached):
    collector.call(uncached.ask().headers["request-id"])
    told = {
        (r["service.name"], r.get("deployment.environment.name")) for r in collector.resources()
    }
    assert ("claudcode", "tests") in told


def test_a_trusted_caller_decides_and_upstream_is_told_and_the_end_waits(
    installation, gateway_settings, collector, http
):
    told = {
        "TRACES_ENDPOINT": f"{collector.endpoint}/v1/traces",
        "TRACES_RATIO": "0",
        "TRACES_TRUST_CALLERS": "true",
        "TRACES_UPSTREAM": "true",
    }
    asked = {"json": a_question("[[sim:echo headers]]")}
    path = "/v1/messages"
    with a_gateway(installation, gateway_settings | told) as gateway:
        developer = a_stranger(http, gateway)
        recorded = developer.post(path, **asked, headers={"traceparent": ORIGIN[0]})
        unrecorded = developer.post(path, **asked, headers={"traceparent": NOT_SAMPLED})
        nobodys = developer.post(path, **asked)
        gateway.stop()  # The last spans wait for no schedule.
    server, (sent,) = collector.call(recorded.headers["request-id"])
    assert (server.trace_id, server.parent_id) == ORIGIN[1:]
    assert f"00-{ORIGIN[1]}-{sent.span_id}-01" in recorded.json()["content"][0]["text"]
    seen = {span.attributes.get("claudcode.request.id") for span in collector.spans()}
    assert not seen & {unrecorded.headers["request-id"], nobodys.headers["request-id"]}


def test_a_collector_that_is_away_costs_no_exchange(installation, gateway_settings, http):
    told = {"TRACES_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        environment.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
        environment.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
        started = a_gateway(installation, gateway_settings | told)
    with started as gateway:
        developer = a_stranger(http, gateway)
        assert [developer.ask().status_code for _ in range(20)] == [200] * 20
        wait_until(lambda: "Queue full, dropping Span" in gateway.log(), 15)
        began = time.monotonic()
        gateway.stop()
        assert time.monotonic() - began < 10  # Nor does the end wait for it: it would be killed.


def test_off_nothing_of_it_is_loaded():
    """But for what redis-py loads of the SDK for metrics, which it only looks for."""
    program = "import sys, claudcode.asgi; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=env.ROOT,
        env=env.inherited() | {"CLAUDCODE_TRACES_ENDPOINT": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    assert "proxy.gateway" in loaded
    of_traces = ("claudcode.tracing", "opentelemetry.sdk.trace", "opentelemetry.exporter")
    assert [name for name in loaded if name.startswith(of_traces)] == []
