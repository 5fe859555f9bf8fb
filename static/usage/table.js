// @ts-check
// A table of figures whose columns sort it; the chart's accessible twin.

import { fill, h, icon } from "../shared/dom.js";

/** `columns`: `{name, label, key(line), cell(line), total(lines), number}`; `show(columns, lines, caption)`. `first` names what orders them at first, descending. A press on a heading sorts. */
export function sortableTable() {
  const head = h("tr", {});
  const body = h("tbody", {});
  const foot = h("tfoot", {});
  const caption = h("caption", { class: "off-screen" });
  const el = h(
    "div",
    { class: "table-box figures", tabIndex: 0, role: "region", "aria-label": "Figures" },
    h("table", { class: "data" }, caption, h("thead", {}, head), body, foot),
  );
  let sorted = null; // {name, down}
  let columns = [];
  let lines = [];

  function press(column) {
    sorted = sorted?.name === column.name ? { name: column.name, down: !sorted.down } : { name: column.name, down: Boolean(column.number) };
    draw();
    head.querySelector(`[data-column="${column.name}"]`)?.focus();
  }

  function draw() {
    fill(
      head,
      columns.map((column) => heading(column)),
    );
    const column = columns.find((one) => one.name === sorted?.name);
    const rows = column ? [...lines].sort((a, b) => compare(column.key(a), column.key(b)) * (sorted.down ? -1 : 1)) : lines;
    fill(
      body,
      rows.map((line) =>
        h(
          "tr",
          {},
          columns.map((one, index) =>
            h(index ? "td" : "th", { class: one.number ? "number" : "", scope: index ? null : "row" }, one.cell(line)),
          ),
        ),
      ),
    );
    fill(
      foot,
      lines.length > 1 &&
        h(
          "tr",
          {},
          columns.map((one, index) =>
            h(index ? "td" : "th", { class: one.number ? "number" : "", scope: index ? null : "row" }, one.total(lines)),
          ),
        ),
    );
  }

  function heading(column) {
    const state = sorted?.name !== column.name ? "none" : sorted.down ? "descending" : "ascending";
    const button = h(
      "button",
      { type: "button", class: "sorter", data: { column: column.name }, onclick: () => press(column) },
      column.label,
      state !== "none" && icon("chevron", 12),
    );
    return h("th", { scope: "col", class: column.number ? "number" : "", "aria-sort": state }, button);
  }

  return {
    el,
    show(nextColumns, nextLines, about, first) {
      [columns, lines] = [nextColumns, nextLines];
      if (!columns.some((one) => one.name === sorted?.name)) sorted = first ? { name: first, down: true } : null;
      caption.textContent = about;
      draw();
    },
  };
}

const compare = (a, b) => (typeof a === "string" && typeof b === "string" ? a.localeCompare(b) : a < b ? -1 : a > b ? 1 : 0);
