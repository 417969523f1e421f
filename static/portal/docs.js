// The documentation in the browser: samples in tabs that remember the reader's language, and search.
// Without it every sample stands under its language's name.
(() => {
  "use strict";

  const remembered = () => {
    try {
      return localStorage.getItem("language");
    } catch {
      return null;
    }
  };
  const remember = (name) => {
    try {
      localStorage.setItem("language", name);
    } catch {
      // It holds for this page.
    }
  };

  // --- tabs ---------------------------------------------------------------------------------------

  const groups = [];

  const show = (group, name) => {
    const found = group.some(({ panel }) => panel.dataset.tab === name);
    const wanted = found ? name : group[0].panel.dataset.tab;
    for (const { button, panel } of group) {
      const chosen = panel.dataset.tab === wanted;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      panel.hidden = !chosen;
    }
  };

  // All samples follow the choice; what the reader looks at stays where it is.
  const choose = (name, anchor) => {
    const before = anchor.getBoundingClientRect().top;
    remember(name);
    for (const group of groups) show(group, name);
    scrollBy({ top: anchor.getBoundingClientRect().top - before, behavior: "instant" });
  };

  const move = (group, event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = group.findIndex(({ button }) => button === event.currentTarget);
    const next = group[(at + step + group.length) % group.length];
    next.button.focus();
    choose(next.panel.dataset.tab, next.button);
  };

  document.querySelectorAll("[data-tabs]").forEach((element, number) => {
    const list = document.createElement("div");
    list.className = "tab-list";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Language");
    const group = [...element.querySelectorAll(".tab")].map((panel) => {
      const button = document.createElement("button");
      const name = panel.dataset.tab;
      button.type = "button";
      button.textContent = panel.querySelector(".tab-name").textContent;
      button.setAttribute("role", "tab");
      button.id = `tab-${number}-${name}`;
      panel.id = `panel-${number}-${name}`;
      button.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", button.id);
      button.addEventListener("click", () => choose(name, button));
      list.append(button);
      return { button, panel };
    });
    for (const { button } of group) button.addEventListener("keydown", (event) => move(group, event));
    element.prepend(list);
    element.classList.add("tabs-on");
    groups.push(group);
    show(group, remembered());
  });

  // --- the menu, folded where it would push the text away ----------------------------------------

  const wide = matchMedia("(min-width: 56rem)");
  const fold = () => {
    for (const menu of document.querySelectorAll("[data-menu]")) menu.open = wide.matches;
  };
  wide.addEventListener("change", fold);
  fold();

  // --- search -------------------------------------------------------------------------------------

  const search = document.querySelector("[data-search]");
  if (!search) return;
  const input = search.querySelector("input");
  const list = search.querySelector("ul");
  const MOST = 8;
  let sections = null;
  let at = -1;

  const load = async () => {
    if (sections) return;
    const answer = await fetch(search.dataset.search);
    if (!answer.ok) throw new Error(String(answer.status));
    sections = (await answer.json()).sections;
  };

  // Every word has to be there; in a title it weighs more, and at its beginning most.
  const weight = (section, words) => {
    const title = section.title.toLowerCase();
    const page = section.page.toLowerCase();
    const text = section.text.toLowerCase();
    let sum = 0;
    for (const word of words) {
      if (title.startsWith(word)) sum += 8;
      else if (title.includes(word)) sum += 5;
      else if (page.includes(word)) sum += 2;
      else if (text.includes(word)) sum += 1;
      else return 0;
    }
    return sum;
  };

  const marked = (text, word) => {
    const from = text.toLowerCase().indexOf(word);
    const element = document.createElement("span");
    element.className = "what";
    const start = Math.max(0, from - 40);
    const cut = (start ? "…" : "") + text.slice(start, start + 120) + (text.length > start + 120 ? "…" : "");
    const place = cut.toLowerCase().indexOf(word);
    if (place < 0) {
      element.textContent = cut;
      return element;
    }
    const mark = document.createElement("mark");
    mark.textContent = cut.slice(place, place + word.length);
    element.append(cut.slice(0, place), mark, cut.slice(place + word.length));
    return element;
  };

  const entry = (section, word, number) => {
    const item = document.createElement("li");
    item.id = `found-${number}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    const link = document.createElement("a");
    link.href = section.path;
    link.tabIndex = -1;
    const where = document.createElement("span");
    where.className = "where";
    where.textContent = !section.path.includes("#") ? section.page : `${section.page} › ${section.title}`;
    link.append(where, marked(section.text, word));
    link.addEventListener("click", close);
    item.append(link);
    return item;
  };

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    at = -1;
  };

  const tell = (words) => {
    const item = document.createElement("li");
    item.className = "muted";
    item.textContent = words;
    list.replaceChildren(item);
  };

  const find = async () => {
    try {
      await load();
    } catch {
      tell("The search cannot be loaded just now.");
      list.hidden = false;
      return;
    }
    // Read after the wait: whoever goes on typing is shown what they have typed by then.
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return close();
    const found = sections
      .map((section) => ({ section, sum: weight(section, words) }))
      .filter(({ sum }) => sum > 0)
      .sort((one, other) => other.sum - one.sum)
      .slice(0, MOST);
    if (found.length) list.replaceChildren(...found.map(({ section }, n) => entry(section, words[0], n)));
    else tell(`Nothing about “${input.value.trim()}”.`);
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    pick(found.length ? 0 : -1);
  };

  const pick = (number) => {
    const items = [...list.querySelectorAll("[role=option]")];
    at = items.length ? (number + items.length) % items.length : -1;
    items.forEach((item, n) => item.setAttribute("aria-selected", String(n === at)));
    if (at >= 0) {
      input.setAttribute("aria-activedescendant", items[at].id);
      items[at].scrollIntoView({ block: "nearest" });
    }
  };

  input.addEventListener("input", find);
  input.addEventListener("focus", () => input.value && find());
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      pick(at + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      list.querySelectorAll("[role=option]")[at].querySelector("a").click();
    } else if (event.key === "Escape") {
      close();
    }
  });
  document.addEventListener("click", (event) => {
    if (!search.contains(event.target)) close();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      input.focus();
    }
  });
  search.hidden = false;
})();
