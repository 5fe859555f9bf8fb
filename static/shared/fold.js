// @ts-check
// A section that opens: reasoning, tool calls, steps of a run.

import { h, icon } from "./dom.js";

export function fold(name, iconName, title, ...children) {
  return h(
    "details",
    { class: `fold ${name}` },
    h("summary", {}, icon(iconName, 15), h("span", { class: "fold-title" }, title), icon("chevron", 14)),
    h("div", { class: "fold-body" }, children),
  );
}
