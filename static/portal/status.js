// The status page reads itself again while somebody looks at it.
(() => {
  "use strict";
  const part = document.querySelector("[data-status]");
  const live = document.querySelector("[data-live]");
  const EVERY_MS = 10000;

  const again = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(part.dataset.status, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      part.replaceChildren(...page.querySelector("[data-status]").childNodes);
      document.title = page.title;
      document.dispatchEvent(new Event("contentchange"));
      live.dataset.live = "";
      live.textContent = "Live";
    } catch {
      live.dataset.live = "lost";
      live.textContent = "No connection; trying again";
    }
  };

  live.hidden = false;
  setInterval(again, EVERY_MS);
  document.addEventListener("visibilitychange", again);
})();
