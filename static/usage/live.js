// Keeps "Now" up to date: over a WebSocket, by asking every two seconds where none can be held.
// Each answer is whole, so one that is missed costs nothing.
(() => {
  "use strict";

  const part = document.querySelector("[data-live]");
  if (!part) return;
  const POLL_MS = 2000, SILENT_MS = 8000, SIGNED_OUT = 4401;
  const state = part.querySelector(".u-state"), words = part.querySelector("[data-now-state]");
  let socket = null, polling = null, again = null, tries = 0, newest = 0, heard = 0;

  const tell = (name, text) => {
    if (state.dataset.state !== name) state.dataset.state = name;
    if (words.textContent !== text) words.textContent = text;
  };
  const element = (name, className, ...children) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };
  const put = (name, text, exact) => {
    for (const place of part.querySelectorAll(`[data-now="${name}"]`)) {
      if (place.textContent !== text) place.textContent = text;
      if (exact !== undefined) place.title = exact;
    }
  };

  const busiest = (each) => element("p", "u-line",
    element("span", "", `${each.name} `, element("span", "muted small", each.key)),
    element("span", "number", `${each.tokens} tokens, ${each.cost}`));

  const budget = (each) => {
    const meter = element("meter", "", each.amounts);
    Object.assign(meter, { min: 0, max: 1, low: 0.75, high: 0.9, optimum: 0, value: each.share, title: each.exact });
    return element("div", `u-budget u-${each.level}`,
      element("p", "u-line",
        element("span", "", element("strong", "", each.name), " ", element("span", "muted small", each.holder)),
        element("span", "u-word", each.word)),
      meter,
      element("p", "small u-line", element("span", "", each.amounts), element("span", "", `${each.left} left`)),
      element("p", "small muted", each.frees ? `${each.lasts}; ${each.frees}` : each.lasts));
  };

  const list = (place, made) => {
    if (made.length) place.replaceChildren(...made);
    else if (place.querySelector(".u-line")) place.replaceChildren(element("p", "muted small", "Nobody in the last minute."));
  };

  let chart = null;
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const draw = (steps) => {
    const box = part.querySelector("[data-now-chart]");
    const data = {
      kind: "stacked", unit: "count", labels: steps.map((step) => clock.format(step.at)), starts: [],
      series: [{ name: "Tokens", data: steps.map((step) => step.tokens) }],
    };
    if (!window.usageCharts) return;
    box.hidden = false;
    if (chart === null) {
      chart = window.usageCharts.draw(box.querySelector("canvas"), data);
      return;
    }
    chart.data.labels = data.labels;
    chart.data.datasets[0].data = data.series[0].data;
    chart.update("none");
  };
  document.addEventListener("themechange", () => { if (chart) { chart.destroy(); chart = null; } });

  const show = (answer) => {
    if (answer.at < newest) return; // One that was slow on its way.
    newest = answer.at;
    put("in_flight", answer.in_flight === null ? "–" : answer.in_flight.toLocaleString("en"));
    put("tokens.text", answer.tokens.text, answer.tokens.exact);
    put("requests.text", answer.requests.text, answer.requests.exact);
    put("cost.text", answer.cost.text);
    put("errors.text", answer.errors.text);
    put("errors.share", answer.errors.share);
    put("behind", answer.behind);
    part.querySelector('[data-now="behind"]').hidden = !answer.behind;
    part.querySelector("[data-now-quiet]").hidden = answer.tokens.exact !== "0";
    list(part.querySelector("[data-now-busiest]"), answer.busiest.map(busiest));
    list(part.querySelector("[data-now-budgets]"), answer.budgets.map(budget));
    draw(answer.steps);
  };

  // Reloaded, the page leads to the sign-in. Not again and again, should it think otherwise.
  const leave = () => {
    if (Date.now() - Number(sessionStorage.getItem("usage_left") || 0) < 30000) return false;
    sessionStorage.setItem("usage_left", String(Date.now()));
    location.reload();
    return true;
  };

  const poll = async () => {
    try {
      const answer = await fetch(part.dataset.live, { headers: { Accept: "application/json" } });
      if (answer.status === 401 || answer.redirected) { leave(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      show(await answer.json());
      if (polling !== null) tell("polling", "asking every 2 s: no live connection here");
    } catch {
      tell("lost", newest ? `reconnecting; figures are of ${clock.format(newest)}` : "reconnecting");
    }
  };
  const pollOn = () => { if (polling === null) { polling = setInterval(poll, POLL_MS); poll(); } };
  const pollOff = () => { clearInterval(polling); polling = null; };

  const connect = () => {
    clearTimeout(again);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const mine = new WebSocket(`${scheme}//${location.host}/usage/live`);
    socket = mine;
    heard = Date.now();
    mine.addEventListener("message", (event) => {
      tries = 0;
      heard = Date.now();
      pollOff();
      show(JSON.parse(event.data));
      tell("live", "live");
    });
    mine.addEventListener("close", (event) => {
      if (socket !== mine) return;
      socket = null;
      if (event.code === SIGNED_OUT && leave()) return;
      if (document.hidden) return;
      pollOn();
      tries += 1;
      again = setTimeout(connect, Math.min(60000, 1000 * 2 ** tries));
    });
  };

  // A connection may die without a word: then its silence tells.
  setInterval(() => {
    if (socket && !document.hidden && Date.now() - heard > SILENT_MS) { pollOn(); socket.close(); }
  }, 2000);
  const pause = () => {
    pollOff();
    clearTimeout(again);
    if (socket) { const old = socket; socket = null; old.close(); }
    tell("still", "paused while nobody looks");
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) pause();
    else if (!socket) connect();
  });
  if (!document.hidden) connect();
})();
