// @ts-check
// What stands in an empty conversation.

import { emit, on } from "../shared/bus.js";
import { fill, h, icon } from "../shared/dom.js";
import { knownAgent } from "../shared/known_agents.js";
import { choice } from "./choice.js";

const IDEAS = [
  ["Compare", "Compare PostgreSQL and SQLite for a small web shop in a table."],
  ["Explain", "Explain how HTTP caching works, with an example of each header."],
  ["Write", "Write a Python function that merges overlapping intervals, with tests."],
  ["Plan", "Plan a two-day team workshop on incident response."],
];

let shown = h("div", { class: "welcome" });
for (const name of ["choice", "agents-known"]) on(name, () => shown.isConnected && draw());

export function welcome() {
  shown = h("div", { class: "welcome" });
  draw();
  return shown;
}

function draw() {
  const agent = choice.agent && knownAgent(choice.agent);
  fill(
    shown,
    agent
      ? meet(agent)
      : [h("span", { class: "mark" }, icon("spark", 26)), h("h2", {}, "What would you like to know?"), h("p", {}, PROMISE), ideas()],
  );
}

const PROMISE = "Each question goes to the model that suits it; every answer shows what it cost and why that model was chosen.";

const meet = (agent) => [
  h("span", { class: "mark" }, icon("robot", 26)),
  h("h2", {}, agent.name),
  h("p", {}, agent.description || "This agent answers in this conversation."),
  !agent.mine && h("small", {}, `Shared by ${agent.owner}. Tools that reach other services ask you before each call.`),
];

const ideas = () =>
  h(
    "div",
    { class: "ideas" },
    IDEAS.map(([kind, text]) =>
      h("button", { type: "button", class: "idea", onclick: () => emit("suggest", text) }, h("strong", {}, kind), h("span", {}, text)),
    ),
  );
