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

// Beyond this many lines a comparison would take longer than anybody wants to wait.
const MOST_LINES = 600;

/** The lines of two texts as `[sign, line]`, sign "+", "-" or " "; long unchanged stretches are left out as "…". */
export function promptLines(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  if (a.length > MOST_LINES || b.length > MOST_LINES) return [...a.map((line) => ["-", line]), ...b.map((line) => ["+", line])];
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  const lines = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) [lines.push([" ", a[i]]), (i += 1), (j += 1)];
    else if (i < a.length && (j >= b.length || common[i + 1][j] >= common[i][j + 1])) lines.push(["-", a[i++]]);
    else lines.push(["+", b[j++]]);
  }
  return nearChanges(lines);
}

function nearChanges(lines) {
  const near = (at) => lines.slice(Math.max(0, at - 2), at + 3).some(([sign]) => sign !== " ");
  return lines.flatMap((line, at) => (near(at) ? [line] : near(at - 1) || at === 0 ? [["…", ""]] : []));
}
