// Choosing the model: `auto` with a goal, or one by name.

import { emit, on } from "./bus.js";
import { GOALS, grouped, model, modelName, providerName } from "./catalogue.js";
import { fill, h, icon } from "./dom.js";
import { count, usd } from "./format.js";
import { dialog } from "./overlay.js";
import { simulatedBadge } from "./badges.js";

export const choice = { model: "auto", goal: "balanced" };

export function choose(next) {
  Object.assign(choice, next);
  emit("choice", choice);
}

/** The button that shows the choice and opens the list. */
export function pickerButton(changed) {
  const label = h("span", {});
  const el = h("button", { type: "button", class: "picker", "aria-haspopup": "dialog", onclick: () => openPicker(changed) }, label, icon("chevron", 14));
  const show = () => {
    const name = choice.model === "auto" ? `Auto · ${GOALS[choice.goal]?.[0] ?? "Balanced"}` : modelName(choice.model);
    label.textContent = name;
    el.setAttribute("aria-label", `Model: ${name}`);
  };
  on("choice", show);
  on("models", show);
  show();
  return el;
}

function openPicker(changed) {
  const box = dialog("Choose a model");
  const pick = (next) => {
    choose(next);
    changed(next);
    box.close();
  };
  const search = h("input", { type: "search", class: "field", placeholder: "Search models", "aria-label": "Search models" });
  const list = h("div", { class: "model-list" });
  const draw = () => fill(list, grouped(search.value).map(([provider, models]) => group(provider, models, pick)));
  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "ArrowDown") return;
    // Else the key would also press the button that gets the focus back.
    event.preventDefault();
    const first = list.querySelector("button");
    if (event.key === "Enter") first?.click();
    else first?.focus();
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...list.querySelectorAll("button")];
    (buttons[buttons.indexOf(document.activeElement) + step] ?? search).focus();
  });
  box.el.classList.add("model-dialog");
  box.closed.then(on("models", draw));
  fill(box.body, autoGroup(pick), search, list);
  draw();
  const chosen = box.el.querySelector("[aria-pressed=true]");
  (chosen ?? search).focus();
}

function autoGroup(pick) {
  return h(
    "section",
    { class: "auto-group" },
    h("h3", {}, icon("route", 16), "Automatic", h("small", {}, "picks a model for each question")),
    h(
      "div",
      { class: "goals" },
      Object.entries(GOALS).map(([goal, [name, text]]) =>
        h("button", { type: "button", class: "goal", "aria-pressed": String(choice.model === "auto" && choice.goal === goal), onclick: () => pick({ model: "auto", goal }) }, h("strong", {}, name), h("span", {}, text)),
      ),
    ),
  );
}

function group(provider, models, pick) {
  return h("section", {}, h("h3", {}, providerName(provider)), models.map((one) => row(one, pick)));
}

function row(one, pick) {
  const replaced = one.replacedBy && model(one.replacedBy) ? `; use ${modelName(one.replacedBy)}` : "";
  const facts = [one.context && `${count(one.context)} context`, ...one.capabilities.filter((name) => name !== "temperature" && name !== "json")].filter(Boolean);
  return h(
    "button",
    { type: "button", class: "model-row", title: one.description || null, "aria-pressed": String(choice.model === one.id), onclick: () => pick({ model: one.id }) },
    h(
      "span",
      { class: "model-what" },
      h("strong", {}, one.name, one.state === "deprecated" && h("span", { class: "badge", title: `The vendor will retire it${replaced}` }, "deprecated"), one.simulated && simulatedBadge()),
      h("small", {}, facts.join(" · ")),
    ),
    h("span", { class: "model-price", title: "USD per million tokens, input and output" }, one.input === null ? "price unknown" : `${usd(one.input)} / ${usd(one.output)}`),
    choice.model === one.id && icon("check", 16),
  );
}
