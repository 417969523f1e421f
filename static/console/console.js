// What the console does in the browser: live parts, copy buttons, times in the reader's zone.
// Every page reads without it. No part of it is in a page, so no policy has to allow that.
(() => {
  "use strict";

  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

  const say = (at) => {
    const seconds = (at - Date.now()) / 1000;
    const away = Math.abs(seconds);
    if (away >= 86400) return local.format(at);
    if (away < 60) return relative.format(Math.round(seconds), "second");
    if (away < 3600) return relative.format(Math.round(seconds / 60), "minute");
    return relative.format(Math.round(seconds / 3600), "hour");
  };

  const tellTimes = (root) => {
    for (const element of root.querySelectorAll("time.cc-time")) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      element.textContent = say(at);
      element.title = exact.format(at);
    }
  };

  // Folded for a phone, a row says its columns' names, which begin as a sentence does.
  const nameCells = (root) => {
    for (const cell of root.querySelectorAll("#result_list [data-label]")) {
      cell.dataset.label = cell.dataset.label.replace(/^./, (first) => first.toUpperCase());
    }
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // Without HTTPS there is no clipboard: what is selected can be copied by hand.
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
      return;
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = button.dataset.label), 2000);
  };

  // A part that reads itself again, while somebody looks. A dot above it says how that goes, and
  // pauses it. The dot is made here: without a script nothing is live.
  const watch = (part) => {
    const dot = document.createElement("button");
    dot.type = "button";
    dot.className = "cc-live";
    part.before(dot);
    let paused = false;
    let since = new Date();
    const tell = (state, text) => {
      if (dot.dataset.state === state && dot.textContent === text) return;
      dot.dataset.state = state;
      dot.textContent = text;
      dot.title = paused ? "Click to go on" : "Click to pause";
    };
    const busy = () => part.contains(document.activeElement);
    const as = () => `figures are of ${since.toLocaleTimeString()}`;
    const again = async () => {
      if (paused) return tell("paused", `paused; ${as()}`);
      if (document.hidden) return;
      // Never under somebody's hands.
      if (busy()) return tell("paused", `paused while you are in it; ${as()}`);
      try {
        const answer = await fetch(part.dataset.refresh, { headers: { "X-Requested-With": "fetch" } });
        if (answer.redirected) return tell("lost", `signed out: sign in again; ${as()}`);
        if (!answer.ok) throw new Error(String(answer.status));
        const text = await answer.text();
        if (paused || busy()) return;
        part.innerHTML = text;
        tellTimes(part);
        since = new Date();
        tell("live", "live");
      } catch {
        tell("lost", `reconnecting; ${as()}`);
      }
    };
    dot.addEventListener("click", () => {
      paused = !paused;
      again();
    });
    tell("live", "live");
    setInterval(again, 1000 * Number(part.dataset.seconds));
    document.addEventListener("visibilitychange", again);
  };

  document.addEventListener("DOMContentLoaded", () => {
    tellTimes(document);
    nameCells(document);
    setInterval(() => tellTimes(document), 30000);
    document.querySelectorAll("[data-refresh]").forEach(watch);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-copy]");
      if (button) copy(button);
    });

    const instead = document.querySelector("[data-address]");
    // A reload then opens what was made instead of sending the form once more.
    if (instead) history.replaceState(null, "", instead.dataset.address);

    const stored = document.getElementById("stored");
    if (stored) {
      const warn = (event) => { if (!stored.checked) event.preventDefault(); };
      addEventListener("beforeunload", warn);
    }
  });
})();
