// @ts-check
// What one version of an agent changed against the one before.

import { usd } from "../shared/format.js";
import { PARAMETERS } from "./definition.js";
import { modelLabel, secondsLabel } from "./labels.js";

/** `[name, before, after]` of each field that differs; the prompt is `promptLines`' matter. */
export function changesOf(before, after) {
  const found = [];
  const compare = (name, say, from = before, to = after) => say(from) !== say(to) && found.push([name, say(from), say(to)]);
  compare("Model", modelLabel);
  for (const key of new Set([...Object.keys(before.parameters), ...Object.keys(after.parameters)]))
    compare(PARAMETERS[key] ?? key, ({ parameters }) => (key in parameters ? [parameters[key]].flat().join(", ") : "the model's own"));
  for (const name of new Set([...before.tools, ...after.tools].map((one) => one.name)))
    compare(`Tool ${name}`, ({ tools }) => toolState(tools.find((one) => one.name === name)));
  compare("Step limit", (one) => String(one.max_steps));
  compare("Cost limit per run", (one) => (one.max_cost_usd === null ? "no limit" : usd(one.max_cost_usd)));
  compare("Time limit per run", (one) => secondsLabel(one.max_seconds));
  return found;
}

const toolState = (grant) => (!grant ? "not given" : grant.approval === "always" ? "asks each time" : "runs by itself");
