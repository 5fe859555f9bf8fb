// @ts-check
// What chooses the figures: period, grouping, measure. Each choice is a link, so that it is in the address.

import { fill, h } from "../shared/dom.js";
import { addressOf, PERIODS } from "./address.js";

/** A row of links of which one is chosen; `show(chosen, addressOf)` keeps the elements, and with them the focus. */
export function segments(label, options) {
  const links = Object.entries(options).map(([value, text]) => h("a", { class: "segment", data: { value } }, text));
  return {
    el: h("div", { class: "segments", role: "group", "aria-label": label }, links),
    show(chosen, address) {
      for (const link of links) {
        link.setAttribute("href", address(link.dataset.value));
        if (link.dataset.value === chosen) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    },
  };
}

/** The periods, and two dates where a person wants their own. */
export function periodBar(path, go) {
  const row = segments("Period", PERIODS);
  const from = h("input", { type: "date", class: "field", "aria-label": "From", min: "2000-01-01", max: "2100-01-01" });
  const to = h("input", { type: "date", class: "field", "aria-label": "To, included", min: "2000-01-01", max: "2100-01-01" });
  const trouble = h("p", { class: "form-error", role: "alert" });
  const dates = h("div", { class: "dates" }, from, h("span", { "aria-hidden": "true" }, "–"), to);
  let choice = null;

  function moved() {
    const wrong = !from.value || !to.value ? "" : from.value > to.value ? "The first day is after the last one." : null;
    fill(trouble, wrong);
    for (const field of [from, to]) field.setAttribute("aria-invalid", String(Boolean(wrong)));
    if (wrong === null) go(addressOf(path, { ...choice, from: from.value, to: to.value }));
  }
  for (const field of [from, to]) field.addEventListener("change", moved);

  return {
    el: h("div", { class: "period" }, row.el, dates, trouble),
    show(next) {
      choice = next;
      dates.hidden = next.period !== "custom";
      fill(trouble);
      for (const field of [from, to]) field.removeAttribute("aria-invalid");
      [from.value, to.value] = [next.from, next.to];
      row.show(next.period, (period) => addressOf(path, { ...next, period }));
    },
  };
}
