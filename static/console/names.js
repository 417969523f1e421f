// Names for those who hear a page: fields whose label is the head of their column, choices with a
// search in them (select2 draws its own, without a name), and tables that scroll by the keyboard.
(() => {
  "use strict";

  const text = (element) => element?.textContent.trim().replace(/\s+/g, " ").replace(/:$/, "") ?? "";

  const headOf = (field) => {
    const cell = field.closest("td");
    const head = cell?.closest("table")?.tHead?.rows[0]?.cells[cell.cellIndex];
    return text(head) || field.title || field.name;
  };

  const nameFields = (root) => {
    for (const field of root.querySelectorAll("input:not([type=hidden]), select, textarea")) {
      if (field.labels?.length || field.ariaLabel || field.hasAttribute("aria-labelledby")) continue;
      field.setAttribute("aria-label", headOf(field));
    }
  };

  // Unfold calls the two halves of an instant by the names that the form sends.
  const nameInstants = (root) => {
    for (const field of root.querySelectorAll(".vDateField, .vTimeField")) {
      const label = text(field.closest(".field-line")?.querySelector("label")) || headOf(field);
      const part = field.classList.contains("vDateField") ? "date" : "time, UTC";
      field.setAttribute("aria-label", `${label.replace("*", "")}: ${part}`);
    }
  };

  const nameChoices = (root) => {
    for (const select of root.querySelectorAll("select.select2-hidden-accessible")) {
      const drawn = select.nextElementSibling;
      const name = text(select.labels?.[0]) || select.ariaLabel || headOf(select);
      const chosen = drawn?.querySelector(".select2-selection__rendered");
      for (const part of [drawn?.querySelector("[role=combobox]"), chosen]) {
        part?.removeAttribute("aria-labelledby");
        part?.setAttribute("aria-label", name);
      }
      // What is chosen is said too, after the name.
      if (chosen?.id) drawn.querySelector("[role=combobox]")?.setAttribute("aria-describedby", chosen.id);
    }
  };

  const openTables = () => {
    for (const box of document.querySelectorAll(".overflow-x-auto")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else if (box.tabIndex === 0) box.removeAttribute("tabindex");
    }
  };

  // Select2 draws when its own script comes to it, and again in each new row of a table.
  const drawn = ({ addedNodes }) =>
    [...addedNodes].some((node) => node.classList?.contains("select2"));
  new MutationObserver((changes) => {
    if (changes.some(drawn)) nameChoices(document);
  }).observe(document, { childList: true, subtree: true });

  addEventListener("load", () => {
    nameFields(document);
    nameInstants(document);
    nameChoices(document);
    openTables();
    addEventListener("resize", openTables);
    globalThis.django?.jQuery?.(document).on("select2:open", () => {
      document.querySelector(".select2-search__field")?.setAttribute("aria-label", "Search");
    });
  });
  document.addEventListener("formset:added", (event) => nameFields(event.target));
})();
