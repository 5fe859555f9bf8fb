// Tool calls of an answer with their results, folded away; a call that asks for a person's word is open, with two buttons.

import { post } from "./api.js";
import { emit } from "./bus.js";
import { h } from "./dom.js";
import { duration } from "./format.js";
import { fold } from "./parts.js";

export function stepsOf(steps, busy) {
  const results = new Map(steps.filter((one) => kind(one) === "result").map((one) => [one.call_id, one]));
  return steps
    .filter((one) => kind(one) === "call")
    .map((call) => {
      const result = results.get(call.call_id);
      const asks = busy && call.needs_approval && !result;
      const state = result ? (result.status ?? "ok") : asks ? "waits for you" : busy ? "running" : "no result";
      const title = h("span", {}, "Tool ", h("code", {}, call.name), h("span", { class: `badge tool-${state.replaceAll(" ", "-")}` }, state), result?.latency_ms ? h("small", {}, duration(result.latency_ms)) : null);
      const body = [h("h4", {}, "Arguments"), h("pre", { tabIndex: 0 }, pretty(call.arguments)), asks && question(call)];
      const section = fold("tool", "wrench", title, body, result && [h("h4", {}, "Result"), h("pre", { tabIndex: 0 }, pretty(result.output))]);
      section.open = Boolean(asks);
      return section;
    });
}

/** The agent stands still until somebody answers; nobody's word counts as no after a while. */
function question(call) {
  const say = (word) => async () => {
    buttons.forEach((one) => (one.disabled = true));
    try {
      await post(`agents/runs/${call.run_id}/${word}`, { call_id: call.call_id });
      emit("decided", call.run_id);
    } catch (problem) {
      buttons.forEach((one) => (one.disabled = false));
      emit("problem", problem);
    }
  };
  const buttons = [
    h("button", { type: "button", class: "button primary", onclick: say("approve") }, "Allow"),
    h("button", { type: "button", class: "button", onclick: say("reject") }, "Deny"),
  ];
  return h("div", { class: "ask", role: "group", "aria-label": `Allow the tool ${call.name}?` }, h("p", {}, "The agent asks to run this tool."), buttons);
}

const kind = (step) => String(step.type ?? step.event ?? "").split(".").pop();

function pretty(value) {
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}
