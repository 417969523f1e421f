// Sorts a table and hides its columns without a reload: the server makes the table anew, and what
// leads on from here keeps the order. Without this file the same links and forms load the page.
(() => {
  "use strict";

  // Everything that keeps the page's state in its address learns the new order too.
  const carry = (name, order) => {
    const told = (address) => { const url = new URL(address); url.searchParams.set(name, order); return url; };
    history.replaceState(null, "", told(location.href));
    for (const link of document.querySelectorAll("main a[href*='?']")) {
      if (!link.dataset.sort || link.closest("[data-table]").dataset.table !== name.slice(5)) link.href = told(link.href);
    }
    for (const form of document.querySelectorAll(".u-filters")) {
      const field = form.querySelector(`[name="${name}"]`) || form.appendChild(document.createElement("input"));
      Object.assign(field, { type: "hidden", name, value: order });
    }
    for (const field of document.querySelectorAll(".u-columns [name=query]")) field.value = location.search.slice(1);
  };

  const renew = async (part, query, focus) => {
    part.setAttribute("aria-busy", "true");
    const answer = await fetch(part.dataset.from + query);
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const made = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = made.querySelector("[data-table]");
    part.replaceWith(fresh);
    const found = fresh.querySelector(focus);
    if (found) found.focus({ preventScroll: true });
  };

  document.addEventListener("click", async (event) => {
    const link = event.target.closest("[data-table] a[data-sort]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const part = link.closest("[data-table]"), name = `sort-${part.dataset.table}`;
    const url = new URL(link.href);
    try {
      await renew(part, url.search, `[data-sort="${CSS.escape(link.dataset.sort)}"]`);
      carry(name, url.searchParams.get(name));
    } catch { location.assign(url); } // The page says what is wrong.
  });

  document.addEventListener("submit", async (event) => {
    const form = event.target.closest(".u-columns form");
    if (!form) return;
    event.preventDefault();
    try {
      await fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual" });
      const query = `?${form.elements.query.value}`;
      await renew(form.closest("[data-table]"), query, ".u-columns summary");
    } catch { form.submit(); }
  });
})();
