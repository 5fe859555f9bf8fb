// A word above the composer where the chosen agent cannot answer any more.

import { on } from "./bus.js";
import { fill, h, icon } from "./dom.js";
import { look, partner } from "./partners.js";
import { choice } from "./picker.js";

const LOST = new Set(["agent_not_found", "agent_disabled"]);

/** `choose()` opens the list of models and agents. */
export function partnerNote(choose) {
  const el = h("div", { class: "partner-note", role: "status" });
  const draw = () => {
    const text = trouble();
    el.hidden = !text;
    fill(el, text && [icon("alert", 15), h("span", {}, text), h("button", { type: "button", class: "button small", onclick: choose }, "Choose another")]);
  };
  on("choice", draw);
  on("partners", draw);
  // Deleted while the page was open: the server's word is newer than ours.
  on("problem", (problem) => choice.agent && LOST.has(problem?.code) && look(choice.agent));
  draw();
  return el;
}

function trouble() {
  const agent = choice.agent ? partner(choice.agent) : undefined;
  if (agent === null) return "This agent was deleted or is no longer shared with you, so it cannot answer.";
  return agent && !agent.enabled ? `${agent.name} was switched off by an administrator.` : null;
}
