// Tool calls of an answer with their results, folded away.

import { h } from "./dom.js";
import { duration } from "./format.js";
import { fold } from "./parts.js";

export function stepsOf(steps, busy) {
  const results = new Map(steps.filter((one) => kind(one) === "result").map((one) => [one.call_id, one]));
  return steps
    .filter((one) => kind(one) === "call")
    .map((call) => {
      const result = results.get(call.call_id);
      const state = result ? (result.status ?? "ok") : busy ? "running" : "no result";
      const title = h("span", {}, "Tool ", h("code", {}, call.name), h("span", { class: `badge tool-${state.replace(" ", "-")}` }, state), result?.latency_ms ? h("small", {}, duration(result.latency_ms)) : null);
      return fold("tool", "wrench", title, h("h4", {}, "Arguments"), h("pre", { tabIndex: 0 }, pretty(call.arguments)), result && [h("h4", {}, "Result"), h("pre", { tabIndex: 0 }, pretty(result.output))]);
    });
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
