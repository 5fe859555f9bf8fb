// @ts-check
// The stored steps of a run: what the model said, which tools it called, what a person decided.

import { modelName } from "./catalogue.js";
import { add, h } from "./dom.js";
import { fold } from "./fold.js";
import { count, duration, moment, usd } from "./format.js";
import { toolCallViews } from "./tool_calls.js";

/** The steps as a list whose items stay where they did not change: an open fold stays open. */
export function stepList() {
  const el = h("ol", { class: "steps" });
  const drawn = new Map(); // number -> {shape, item}

  return {
    el,
    show(run, busy) {
      const items = run.steps.map((one) => {
        const shape = JSON.stringify([one, busy]);
        const old = drawn.get(one.number);
        if (old?.shape === shape) return old.item;
        const open = old?.item.querySelector("details")?.open;
        const item = h("li", {}, one.kind === "model" ? modelStep(one) : toolStep(one, run.id, busy));
        if (open) item.querySelector("details").open = true;
        drawn.set(one.number, { shape, item });
        return item;
      });
      if (items.length !== el.children.length || items.some((item, at) => el.children[at] !== item)) el.replaceChildren(...items);
    },
  };
}

function modelStep(one) {
  const facts = [
    one.status === "running" ? "working" : `${count(one.usage.input_tokens)} in · ${count(one.usage.output_tokens)} out`,
    one.status !== "running" && usd(one.cost_usd),
    one.latency_ms ? duration(one.latency_ms) : null,
  ];
  const title = h(
    "span",
    {},
    modelName(one.name) || "Model",
    one.status !== "ok" && one.status !== "running" && h("span", { class: `badge tool-${one.status}` }, one.status),
    h("small", {}, facts.filter(Boolean).join(" · ")),
  );
  return fold(
    "model-step",
    "spark",
    title,
    one.output ? h("div", { class: "plain" }, one.output) : h("p", {}, one.status === "ok" ? "It only called tools." : "Nothing was said."),
    one.error_code && h("p", {}, words(one.error_code)),
  );
}

function toolStep(one, runId, busy) {
  const undecided = one.status === "waiting" && !one.decided_at;
  const call = {
    type: "tool.call",
    call_id: one.call_id,
    name: one.name,
    arguments: one.arguments ?? "{}",
    needs_approval: undecided,
    run_id: runId,
  };
  const ended = !["running", "waiting"].includes(one.status);
  const result = { type: "tool.result", call_id: one.call_id, status: one.status, output: one.output, latency_ms: one.latency_ms };
  const [section] = toolCallViews(ended ? [call, result] : [call], busy);
  const said =
    one.decision && `${one.decision === "approved" ? "Allowed" : "Denied"} ${moment(one.decided_at)}${one.reason ? `: ${one.reason}` : ""}`;
  add(section.querySelector(".fold-body"), [
    said && h("p", { class: "decided" }, said),
    one.error_code && h("p", {}, words(one.error_code)),
  ]);
  return section;
}

const words = (code) =>
  code === "outcome_unknown" ? "The process died meanwhile. It may have happened; it was not repeated." : code.replaceAll("_", " ");
