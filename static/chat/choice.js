// @ts-check
// Who answers the next question, and the button that shows and changes it.

import { emit, on } from "../shared/bus.js";
import { GOALS, modelName } from "../shared/catalogue.js";
import { h, icon } from "../shared/dom.js";
import { knownAgent } from "../shared/known_agents.js";
import { openPicker } from "../shared/model_picker.js";

export const choice = { model: "auto", goal: "balanced", agent: null };

export function choose(next) {
  Object.assign(choice, next);
  emit("choice", choice);
}

/** The button that shows the choice and opens the list. */
export function pickerButton(changed) {
  const label = h("span", {});
  const robot = icon("robot", 15);
  const pick = (next) => {
    choose(next);
    changed(next);
  };
  const el = h(
    "button",
    { type: "button", class: "picker", "aria-haspopup": "dialog", onclick: () => openPicker({ chosen: choice, agents: true, pick }) },
    robot,
    label,
    icon("chevron", 14),
  );
  const show = () => {
    const name = choice.agent
      ? agentName(choice.agent)
      : choice.model === "auto"
        ? `Auto · ${GOALS[choice.goal]?.[0] ?? "Balanced"}`
        : modelName(choice.model);
    label.textContent = name;
    robot.toggleAttribute("hidden", !choice.agent);
    el.setAttribute("aria-label", `${choice.agent ? "Agent" : "Model"}: ${name}`);
  };
  for (const name of ["choice", "models", "agents-known"]) on(name, show);
  show();
  return el;
}

const agentName = (id) => {
  const agent = knownAgent(id);
  return agent?.name ?? (agent === null ? "Agent not available" : "Agent");
};
