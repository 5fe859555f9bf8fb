// @ts-check
// A run with all its steps, which the API answers in several parts where their texts are long.

import { get } from "./api.js";

/** The run at this path of the API: an agent's run, or a task's run with its attempts. */
export async function getRun(path) {
  const run = await get(path);
  let next = run.steps_next;
  while (next) {
    const more = await get(next);
    addSteps(run, more);
    next = more.steps_next;
  }
  return run;
}

function addSteps(run, more) {
  run.steps?.push(...more.steps);
  for (const one of run.attempts ?? []) one.steps.push(...(more.attempts.find((other) => other.number === one.number)?.steps ?? []));
}
