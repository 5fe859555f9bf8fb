// @ts-check
// A word above the composer where the chosen agent cannot answer any more.

import { on } from "../shared/bus.js";
import { fill, h, icon } from "../shared/dom.js";
import { knownAgent, refreshAgent } from "../shared/known_agents.js";
import { choice } from "./choice.js";

const LOST = new Set(["agent_not_found", "agent_disabled"]);

/** `choose()` opens the list of models and agents. */
export function agentNote(choose) {
  const el = h("div", { class: "partner-note", role: "status" });
  const draw = () => {
    const text = trouble();
    el.hidden = !text;
    fill(
      el,
      text && [
        icon("alert", 15),
        h("span", {}, text),
        h("button", { type: "button", class: "button small", onclick: choose }, "Choose another"),
      ],
    );
  };
  on("choice", draw);
  on("agents-known", draw);
  // Deleted while the page was open: the server's word is newer than ours.
  on("problem", (problem) => choice.agent && LOST.has(problem?.code) && refreshAgent(choice.agent));
  draw();
  return el;
}

function trouble() {
  const agent = choice.agent ? knownAgent(choice.agent) : undefined;
  if (agent === null) return "This agent was deleted or is no longer shared with you, so it cannot answer.";
  return agent && !agent.enabled ? `${agent.name} was switched off by an administrator.` : null;
}
