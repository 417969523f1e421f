// What every page for developers does in the browser: the theme switch, copy buttons, local times.
// Every page reads without it. Nothing here is in a page, so the policy allows files of ours alone.
// A theme that changes is announced on `document` as the event `themechange`, for who draws.
(() => {
  "use strict";

  const THEMES = ["system", "light", "dark"];

  const theme = () => document.documentElement.dataset.theme || "system";

  const setTheme = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    try {
      localStorage.setItem("theme", name);
    } catch {
      // It holds for this page.
    }
    document.dispatchEvent(new CustomEvent("themechange", { detail: name }));
  };

  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    const say = () => (button.textContent = `Theme: ${theme()}`);
    button.addEventListener("click", () => {
      setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
      say();
    });
    button.hidden = false;
    say();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.dispatchEvent(new CustomEvent("themechange", { detail: theme() }));
  });

  // <button data-copy="id of what is copied">Copy</button>
  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    const label = button.dataset.label || button.textContent;
    button.dataset.label = label;
    try {
      await navigator.clipboard.writeText(source.textContent.replace(/\n$/, ""));
      button.textContent = "Copied";
    } catch {
      // Without https there is no clipboard: what is selected can be copied by hand.
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (button.textContent = label), 2000);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button);
  });

  // <time class="local" datetime="…">: in the reader's zone, relative under a day, exact on hover.
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const said = (at) => {
    const seconds = (at - Date.now()) / 1000;
    const away = Math.abs(seconds);
    if (away >= 86400) return local.format(at);
    if (away < 60) return relative.format(Math.round(seconds), "second");
    if (away < 3600) return relative.format(Math.round(seconds / 60), "minute");
    return relative.format(Math.round(seconds / 3600), "hour");
  };
  const tellTimes = () => {
    for (const element of document.querySelectorAll("time.local")) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      element.textContent = said(at);
      element.title = exact.format(at);
    }
  };
  tellTimes();
  // A page that has put something new into itself says so.
  document.addEventListener("contentchange", tellTimes);
})();
