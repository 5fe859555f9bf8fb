// @ts-check
// What an agent is, for those who may run it but not change it; and each of its versions.

import { h } from "../shared/dom.js";
import { usd } from "../shared/format.js";
import { modelLabel, secondsLabel } from "./labels.js";

/** A definition as a list of facts. */
export function definitionList(one) {
  const rows = [
    ["Model", modelLabel(one)],
    ...Object.entries(one.parameters).map(([name, value]) => [
      PARAMETERS[name] ?? name,
      typeof value === "object" ? JSON.stringify(value) : String(value),
    ]),
    [
      "Tools",
      one.tools.length
        ? one.tools.map((tool) =>
            h(
              "span",
              { class: "tool-name" },
              h("code", {}, tool.name),
              tool.approval === "always" && h("span", { class: "badge" }, "asks"),
            ),
          )
        : "none",
    ],
    ["Step limit", one.max_steps],
    ["Cost limit per run", one.max_cost_usd === null ? "no limit" : usd(one.max_cost_usd)],
    ["Time limit per run", secondsLabel(one.max_seconds)],
  ];
  const prompt = one.system_prompt
    ? h("pre", { class: "prompt", tabIndex: 0, "aria-label": "System prompt" }, one.system_prompt)
    : h("p", { class: "hint" }, "No system prompt.");
  return [
    prompt,
    h(
      "dl",
      { class: "pairs" },
      rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
  ];
}

export const PARAMETERS = {
  temperature: "Temperature",
  top_p: "Top p",
  max_output_tokens: "Longest answer",
  reasoning_effort: "Reasoning effort",
  stop: "Stop at",
};
