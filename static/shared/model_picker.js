// @ts-check
// The dialog in which a person chooses who answers: `auto` with a goal, a model by name, or an agent.

import { simulatedBadge } from "./badges.js";
import { emit, on } from "./bus.js";
import { GOALS, modelById, modelName, modelsByVendor, providerName } from "./catalogue.js";
import { debounce, fill, h, icon, isEnter } from "./dom.js";
import { count, usd } from "./format.js";
import { findAgents } from "./known_agents.js";
import { dialog } from "./overlay.js";

// Without a search so many agents stand above the models.
const FEW = 5;

/** Resolves with `{model, goal}`, or undefined; `chosen.goal` may be empty, which leaves the goal to whoever asks. */
export function chooseModel(chosen) {
  return openPicker({ chosen, anyGoal: true, pick: () => {} });
}

/**
 * Opens the dialog. `pick(next)` is called before it closes; resolves with the same, or undefined.
 * `agents`: agents may be chosen, too. `anyGoal`: the goal may be left to the person who asks.
 */
export function openPicker({ chosen, agents = false, anyGoal = false, pick }) {
  const box = dialog(agents ? "Choose a model or an agent" : "Choose a model");
  const done = (next) => {
    pick(next);
    box.close(next);
  };
  const label = agents ? "Search models and agents" : "Search models";
  const search = h("input", { type: "search", class: "field", placeholder: label, "aria-label": label });
  const agentList = h("div", { class: "model-list" });
  const list = h("div", { class: "model-list" });
  const results = h("div", { class: "model-list" }, agentList, list);
  const draw = () =>
    fill(
      list,
      modelsByVendor(search.value).map(([provider, models]) => group(provider, models, chosen, done)),
    );
  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => {
    const enter = isEnter(event);
    if (!enter && event.key !== "ArrowDown") return;
    // Else the key would also press the button that gets the focus back.
    event.preventDefault();
    const first = results.querySelector("button");
    if (enter) first?.click();
    else first?.focus();
  });
  results.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...results.querySelectorAll("button")];
    (buttons[buttons.indexOf(document.activeElement) + step] ?? search).focus();
  });
  box.el.classList.add("model-dialog");
  box.closed.then(on("models", draw));
  fill(box.body, autoGroup(chosen, anyGoal, done), search, results);
  draw();
  if (agents) agentGroup(agentList, search, chosen, done);
  const pressed = box.el.querySelector("[aria-pressed=true]");
  (pressed ?? search).focus();
  return box.closed;
}

const ANY = ["As the person prefers", "Whoever asks decides by their own setting"];

function autoGroup(chosen, anyGoal, pick) {
  const goals = [...Object.entries(GOALS), ...(anyGoal ? [["", ANY]] : [])];
  const pressed = (goal) => String(!chosen.agent && chosen.model === "auto" && chosen.goal === goal);
  const button = ([goal, [name, text]]) =>
    h(
      "button",
      {
        type: "button",
        class: `goal ${goal ? "" : "any"}`,
        "aria-pressed": pressed(goal),
        onclick: () => pick({ model: "auto", goal, agent: null }),
      },
      h("strong", {}, name),
      h("span", {}, text),
    );
  return h(
    "section",
    { class: "auto-group" },
    h("h3", {}, icon("route", 16), "Automatic", h("small", {}, "picks a model for each question")),
    h("div", { class: "goals" }, goals.map(button)),
  );
}

/** The agents that the search finds, in the person's own list or, where that is long, at the server. */
function agentGroup(el, search, chosen, pick) {
  let found = [];
  let whole = true;
  let last = 0;
  async function load(text) {
    const mine = (last += 1);
    try {
      const answer = await findAgents(text);
      if (mine !== last) return;
      found = answer.agents;
      if (!text) whole = answer.all;
      draw();
    } catch (problem) {
      emit("problem", problem);
    }
  }
  const again = debounce(() => load(search.value.trim()), 250);
  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const fitting = wanted ? found.filter((one) => `${one.name} ${one.slug} ${one.description}`.toLowerCase().includes(wanted)) : found;
    const shown = wanted
      ? fitting
      : [...fitting.filter((one) => one.id === chosen.agent), ...fitting.filter((one) => one.id !== chosen.agent)].slice(0, FEW);
    const more = fitting.length - shown.length;
    fill(
      el,
      shown.length > 0 &&
        h(
          "section",
          { "aria-label": "Agents" },
          h("h3", {}, icon("robot", 16), "Agents", more > 0 && h("small", {}, `search to find ${more} more`)),
          shown.map((one) => agentRow(one, chosen, pick)),
        ),
    );
  }
  search.addEventListener("input", () => (whole ? draw() : again()));
  load("");
}

function agentRow(one, chosen, pick) {
  return h(
    "button",
    { type: "button", class: "model-row", "aria-pressed": String(chosen.agent === one.id), onclick: () => pick({ agent: one.id }) },
    h("span", { class: "model-what" }, h("strong", {}, one.name), one.description && h("small", { class: "one-line" }, one.description)),
    h("span", { class: "model-price" }, one.mine ? "yours" : `by ${one.owner}`),
    chosen.agent === one.id && icon("check", 16),
  );
}

function group(provider, models, chosen, pick) {
  return h(
    "section",
    {},
    h("h3", {}, providerName(provider)),
    models.map((one) => row(one, chosen, pick)),
  );
}

function row(one, chosen, pick) {
  const replaced = one.replaced_by && modelById(one.replaced_by) ? `; use ${modelName(one.replaced_by)}` : "";
  const facts = [
    `${count(one.context_window)} context`,
    ...one.capabilities.filter((name) => name !== "temperature" && name !== "json"),
  ].filter(Boolean);
  const pressed = !chosen.agent && chosen.model === one.id;
  return h(
    "button",
    {
      type: "button",
      class: "model-row",
      title: one.description || null,
      "aria-pressed": String(pressed),
      onclick: () => pick({ model: one.id, agent: null }),
    },
    h(
      "span",
      { class: "model-what" },
      h(
        "strong",
        {},
        one.name,
        one.lifecycle === "deprecated" && h("span", { class: "badge", title: `The vendor will retire it${replaced}` }, "deprecated"),
        one.simulated && simulatedBadge(),
      ),
      h("small", {}, facts.join(" · ")),
    ),
    h(
      "span",
      { class: "model-price", title: "USD per million tokens, input and output" },
      one.price ? `${usd(one.price.input)} / ${usd(one.price.output)}` : "price unknown",
    ),
    pressed && icon("check", 16),
  );
}
