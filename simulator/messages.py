"""The Messages API: `POST /v1/messages` and its `count_tokens`. Decisions are made elsewhere."""

import hashlib
import math
import time

import orjson

from simulator import errors, request
from simulator.answer import Answer
from simulator.catalogue import Catalogue
from simulator.composer import Composer
from simulator.errors import Refused
from simulator.exchange import JSON, Exchange
from simulator.frames import frames, message_json
from simulator.marks import Counters, Failure, Script, apply, find
from simulator.options import Options
from simulator.play import play
from simulator.prompt import segments, total
from simulator.prompt_cache import PromptCache
from simulator.request import MessageRequest
from simulator.usage import Usage

# Anthropic's limit for messages and for counting.
BODY_BYTES_MAX = 32 * 1024 * 1024
EVENT_STREAM = b"text/event-stream; charset=utf-8"


class MessagesApi:
    """Answers messages. Holds the prompt cache and the counters of marks."""

    def __init__(self, options: Options, catalogue: Catalogue) -> None:
        self._script = options.script
        self._marks = options.marks
        self._catalogue = catalogue
        self._composer = Composer(options.seed or 0)
        self._cache = PromptCache()
        self._counters = Counters()

    def reset(self) -> None:
        """Forget cached prefixes and used marks."""
        self._cache.clear()
        self._counters.used.clear()

    async def messages(self, exchange: Exchange) -> None:
        """Answer one request, streamed or not."""
        asked = await self._read(exchange, counting=False)
        script = await self._admit(exchange, asked) if asked else None
        if asked is None or script is None:
            return
        answer = self._compose(exchange, asked, script)
        if script.cut_after == 0:
            exchange.entry.outcome = "cut"
            await exchange.client.cut()
        elif asked.stream:
            await _stream(exchange, answer, script)
        else:
            await _whole(exchange, answer, script)

    async def count_tokens(self, exchange: Exchange) -> None:
        """Answer with the input tokens that the same body would use."""
        asked = await self._read(exchange, counting=True)
        if asked is None or await self._admit(exchange, asked) is None:
            return
        tokens = total(segments(asked.body))
        await exchange.answer(orjson.dumps({"input_tokens": tokens}))

    async def _read(self, exchange: Exchange, *, counting: bool) -> MessageRequest | None:
        length = exchange.header(b"content-length")
        if length.isdigit() and int(length) > BODY_BYTES_MAX:
            raise Refused(413)
        raw = await exchange.client.read(BODY_BYTES_MAX)
        if raw is None:
            return None
        entry = exchange.entry
        entry.body_bytes = len(raw)
        entry.body_sha256 = hashlib.sha256(raw).digest()
        asked = request.check(
            request.decode(raw),
            version=exchange.header(b"anthropic-version"),
            betas=exchange.header(b"anthropic-beta"),
            catalogue=self._catalogue,
            counting=counting,
        )
        entry.model = asked.model.model_id
        entry.streamed = asked.stream
        return asked

    async def _admit(self, exchange: Exchange, asked: MessageRequest) -> Script | None:
        # What began a loop of tools speaks in its later rounds only by marks meant for them.
        began = [mark for mark in find("\n".join(asked.began)) if "rounds" in mark.words]
        marks = [*self._marks, *find(asked.text), *began]
        marks = [mark for mark in marks if asked.round < mark.number("rounds", default=math.inf)]
        script = apply(self._counters.spend(marks), self._script) if marks else self._script
        if script.slow_s and not await exchange.client.sleep(script.slow_s):
            return None
        if script.failure is not None:
            raise _failed(script.failure, script)
        return script

    def _compose(self, exchange: Exchange, asked: MessageRequest, script: Script) -> Answer:
        entry, model = exchange.entry, asked.model
        prompt = segments(asked.body)
        tokens = total(prompt)
        if tokens > model.input_tokens_max:
            raise Refused(
                400, f"prompt is too long: {tokens} tokens > {model.input_tokens_max} maximum"
            )
        use = self._cache.use(
            owner=f"{exchange.credential} {model.model_id}",
            segments=prompt,
            tokens_min=model.cacheable_tokens_min,
            now_s=time.monotonic(),
        )
        entry.usage = Usage(
            input_tokens=tokens - use.total,
            cache=use,
            geo=str(asked.body.get("inference_geo") or "global"),
            speed=str(asked.body.get("speed") or ""),
            web_searches=script.web_searches,
        )
        entry.message_id = entry.request_id.replace("req_", "msg_")
        echo = _echo(exchange, script.echo)
        answer = self._composer.compose(asked, script, entry.usage, entry.message_id, echo)
        entry.thinking_tokens = answer.thinking_tokens
        return answer


async def _stream(exchange: Exchange, answer: Answer, script: Script) -> None:
    headers = exchange.answer_headers(EVENT_STREAM)
    headers.append((b"cache-control", b"no-cache"))
    exchange.entry.status = 200
    gzip = script.gzip and exchange.accepts_gzip()
    await exchange.client.start(200, headers, gzip=gzip)
    stream = frames(
        answer, tokens_per_event=script.tokens_per_event, message_deltas=script.message_deltas
    )
    exchange.entry.outcome = await play(stream, script, exchange.client, exchange.entry)


async def _whole(exchange: Exchange, answer: Answer, script: Script) -> None:
    if script.error_after is not None:
        kind = script.error_type
        raise Refused(errors.STATUSES[kind], script.error_message, kind=kind)
    delay = script.first_byte_s + script.stall_s
    if script.tokens_per_s:
        delay += answer.output_tokens / script.tokens_per_s
    if delay and not await exchange.client.sleep(delay):
        return
    exchange.entry.output_tokens = answer.output_tokens
    body = message_json(answer)
    if script.cut_after is None:
        await exchange.answer(body, gzip=script.gzip and exchange.accepts_gzip())
        return
    exchange.entry.status, exchange.entry.outcome = 200, "cut"
    length = (b"content-length", b"%d" % len(body))
    await exchange.client.start(200, [*exchange.answer_headers(JSON), length])
    await exchange.client.write(body[: len(body) // 2])
    await exchange.client.cut()


def _failed(failure: Failure, script: Script) -> Refused:
    retry_after = script.retry_after
    if retry_after is None and failure.status == 429:
        retry_after = "1"  # Upstream always says when.
    headers = []
    if retry_after not in (None, "", "none"):
        headers.append((b"retry-after", str(retry_after).encode()))
    if script.retry_after_ms:
        headers.append((b"retry-after-ms", script.retry_after_ms.encode()))
    if failure.should_retry:
        headers.append((b"x-should-retry", failure.should_retry.encode()))
    return Refused(
        failure.status,
        failure.message,
        kind=failure.kind,
        headers=tuple(headers),
        raw=failure.raw,
    )


def _echo(exchange: Exchange, what: str | None) -> str | None:
    if what is None:
        return None
    entry = exchange.entry
    if what == "body-sha256":
        return entry.body_sha256.hex()
    headers: dict[str, str] = {}
    for raw_name, raw_value in exchange.scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if what == "headers":
        return orjson.dumps(headers).decode()
    seen = {"method": entry.method, "path": entry.path, "query": entry.query, "headers": headers}
    return orjson.dumps(seen | {"body_bytes": entry.body_bytes}).decode()
