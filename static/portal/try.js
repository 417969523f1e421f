// Sends a prompt with the reader's key and shows the answer as it comes. The key is in the form's field
// and nowhere else: it is not stored, not logged, and in no address.
(() => {
  "use strict";

  const root = document.querySelector("[data-try]");
  const form = root.querySelector("form");
  const find = (name) => root.querySelector(`[data-${name}]`);
  const [state, error, text, curl] = ["state", "error", "text", "curl"].map(find);
  const [send, stop] = [find("send"), find("stop")];
  const { key, model, max_tokens: longest, prompt, no_cache: noCache } = form.elements;
  let running = null;

  // What each refusal asks of the reader; the gateway's own sentence stands before it.
  const ADVICE = {
    400: "Check the request.",
    401: "Check that the whole key is in the field, and ask whoever gave it to you whether it is still live.",
    403: "Choose another model.",
    404: "Choose another model.",
    413: "Send a shorter prompt.",
    429: "Wait as long as Retry-After says, then send it again.",
    500: "Send it again in a moment.",
    502: "The gateway could not get an answer from Anthropic. Send it again in a moment.",
    503: "The gateway is closed or cannot read limits just now. The status page says more.",
    529: "Anthropic is overloaded. Send it again in a while.",
  };

  const body = () => ({
    model: model.value,
    max_tokens: Number(longest.value),
    stream: true,
    messages: [{ role: "user", content: prompt.value }],
  });

  const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;

  const showCurl = () => {
    const lines = [
      `curl -N ${root.dataset.baseUrl}/v1/messages`,
      `-H "x-api-key: $CLAUDCODE_KEY"`,
      ...(noCache.checked ? [`-H "X-No-Cache: true"`] : []),
      `-H "content-type: application/json"`,
      `-d ${quoted(JSON.stringify(body()))}`,
    ];
    curl.textContent = lines.join(" \\\n  ");
  };

  const say = (words) => (state.textContent = words);

  const showError = (words) => {
    error.textContent = words;
    error.hidden = false;
  };

  const showHeaders = (headers) => {
    for (const row of root.querySelectorAll("[data-header]")) {
      const value = headers.get(row.dataset.header);
      row.classList.toggle("sent", value !== null);
      row.querySelector("[data-value]").textContent = value ?? "–";
    }
  };

  const ask = (path, options = {}) =>
    fetch(path, {
      ...options,
      headers: { "x-api-key": key.value.trim(), ...options.headers },
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
    });

  const refused = async (answer) => {
    let said = `The gateway answered ${answer.status}.`;
    try {
      said = (await answer.json()).error.message;
    } catch {
      // Something between here and the gateway answered.
    }
    return `${answer.status}: ${said} ${ADVICE[answer.status] ?? ""}`.trim();
  };

  // --- models -------------------------------------------------------------------------------------

  let asked = "";

  const loadModels = async () => {
    const mine = key.value.trim();
    if (!mine || mine === asked) return;
    asked = mine;
    error.hidden = true;
    model.disabled = true;
    try {
      const answer = await ask("/v1/models?limit=1000");
      if (mine !== asked) return;
      if (!answer.ok) {
        asked = "";
        model.replaceChildren(new Option("The key was refused", ""));
        return showError(await refused(answer));
      }
      const models = (await answer.json()).data;
      model.replaceChildren(...models.map(({ id, display_name }) => new Option(`${display_name} (${id})`, id)));
      model.disabled = !models.length;
      if (!models.length) model.replaceChildren(new Option("Your key may use no model", ""));
    } catch {
      asked = "";
      showError("The gateway cannot be reached. Check your connection.");
    }
    showCurl();
  };

  // --- the answer, event by event -----------------------------------------------------------------

  async function* events(stream) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value.replaceAll("\r", "");
      const frames = buffer.split("\n\n");
      buffer = frames.pop();
      for (const frame of frames) {
        const data = frame.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
      }
    }
  }

  const listen = async (answer) => {
    let usage = {};
    let ended = false;
    for await (const event of events(answer.body)) {
      if (event.type === "message_start") usage = { ...event.message.usage };
      if (event.type === "content_block_delta" && event.delta.type === "text_delta") {
        text.append(event.delta.text);
      }
      if (event.type === "message_delta") usage = { ...usage, ...event.usage };
      if (event.type === "error") {
        showError(`The answer broke off: ${event.error.message}`);
        return say("Broken off.");
      }
      if (event.type === "message_stop") ended = true;
    }
    if (!ended) {
      showError("The answer broke off: the connection ended before it did.");
      return say("Broken off.");
    }
    const took = `${usage.input_tokens ?? "?"} tokens in, ${usage.output_tokens ?? "?"} out`;
    say(answer.headers.get("x-cache") === "HIT" ? `From the cache. The original: ${took}.` : `Done: ${took}.`);
  };

  const run = async () => {
    running = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    error.hidden = true;
    text.hidden = false;
    text.textContent = "";
    showHeaders(new Headers());
    say("Waiting for the first words …");
    try {
      const answer = await ask("/v1/messages", {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "anthropic-version": "2023-06-01",
          ...(noCache.checked ? { "x-no-cache": "true" } : {}),
        },
        body: JSON.stringify(body()),
        signal: running.signal,
      });
      showHeaders(answer.headers);
      if (answer.ok) {
        say("The answer is coming …");
        await listen(answer);
      } else {
        text.hidden = true;
        showError(await refused(answer));
        say("Refused.");
      }
    } catch (problem) {
      if (problem.name === "AbortError") {
        say("Stopped. What had come is charged.");
      } else {
        showError("The connection to the gateway broke off. Send it again.");
        say("Broken off.");
      }
    } finally {
      running = null;
      send.disabled = false;
      stop.disabled = true;
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return;
    await loadModels();
    if (model.value) run();
  });
  stop.addEventListener("click", () => running && running.abort());
  key.addEventListener("change", loadModels);
  key.addEventListener("paste", () => setTimeout(loadModels));
  form.addEventListener("input", showCurl);
  // A page that the browser brings back must not bring the key back.
  addEventListener("pagehide", () => {
    key.value = "";
    asked = "";
  });
  showCurl();
})();
