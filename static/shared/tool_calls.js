// @ts-check
// Tool calls of an answer with their results, folded away; a call that waits for approval is open, with two buttons.

import { post } from "./api.js";
import { emit } from "./bus.js";
import { h } from "./dom.js";
import { fold } from "./fold.js";
import { duration } from "./format.js";

export function toolCallViews(steps, busy) {
  const results = new Map(steps.filter((one) => one.type === "tool.result").map((one) => [one.call_id, one]));
  return steps
    .filter((one) => one.type === "tool.call")
    .map((call) => {
      const result = results.get(call.call_id);
      const asks = busy && call.needs_approval && !result;
      const state = result ? result.status : asks ? "waits for you" : busy ? "running" : "no result";
      const title = h(
        "span",
        {},
        "Tool ",
        h("code", {}, call.name),
        h("span", { class: `badge tool-${state.replaceAll(" ", "-")}` }, state),
        result?.latency_ms ? h("small", {}, duration(result.latency_ms)) : null,
      );
      const body = [h("h4", {}, "Arguments"), h("pre", { tabIndex: 0 }, pretty(call.arguments)), asks && question(call)];
      const section = fold(
        "tool",
        "wrench",
        title,
        body,
        result && [h("h4", {}, "Result"), h("pre", { tabIndex: 0 }, pretty(result.output))],
      );
      section.open = Boolean(asks);
      return section;
    });
}

/** The agent waits until the person decides; after seven days that counts as a refusal. */
function question(call) {
  const decide = (verb) => async () => {
    buttons.forEach((one) => (one.disabled = true));
    try {
      await post(`agents/runs/${call.run_id}/${verb}`, { call_id: call.call_id });
      emit("decided", call.run_id);
    } catch (problem) {
      buttons.forEach((one) => (one.disabled = false));
      emit("problem", problem);
    }
  };
  const buttons = [
    h("button", { type: "button", class: "button primary", onclick: decide("approve") }, "Allow"),
    h("button", { type: "button", class: "button", onclick: decide("reject") }, "Deny"),
  ];
  return h(
    "div",
    { class: "ask", role: "group", "aria-label": `Allow the tool ${call.name}?` },
    h("p", {}, "The agent asks to run this tool."),
    buttons,
  );
}

/** @param {string} value JSON where the model or the tool kept to it */
function pretty(value) {
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}
