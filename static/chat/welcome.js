// What stands in an empty conversation.

import { emit } from "./bus.js";
import { h, icon } from "./dom.js";

const IDEAS = [
  ["Compare", "Compare PostgreSQL and SQLite for a small web shop in a table."],
  ["Explain", "Explain how HTTP caching works, with an example of each header."],
  ["Write", "Write a Python function that merges overlapping intervals, with tests."],
  ["Plan", "Plan a two-day team workshop on incident response."],
];

export function welcome() {
  return h(
    "div",
    { class: "welcome" },
    h("span", { class: "mark" }, icon("spark", 26)),
    h("h2", {}, "What would you like to know?"),
    h("p", {}, "Each question goes to the model that suits it; every answer shows what it cost and why that model was chosen."),
    h("div", { class: "ideas" }, IDEAS.map(([kind, text]) => h("button", { type: "button", class: "idea", onclick: () => emit("suggest", text) }, h("strong", {}, kind), h("span", {}, text)))),
  );
}
