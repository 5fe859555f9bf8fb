// @ts-check
// The agents that the person may ask, fetched when they are first needed.

import { get } from "./api.js";
import { emit, on } from "./bus.js";

const known = new Map(); // id -> agent; null where there is none (any more), or it is no longer shared
const pending = new Set();

/** The agent; null: there is none any more; undefined: not known yet, `agents-known` is emitted when it is. */
export function knownAgent(id) {
  if (id && !known.has(id) && !pending.has(id)) refreshAgent(id);
  return known.get(id);
}

/** Asks the server what has become of an agent. */
export async function refreshAgent(id) {
  pending.add(id);
  try {
    keep(await get(`agents/${id}`));
  } catch (problem) {
    if (problem.status === 404) known.set(id, null);
  } finally {
    pending.delete(id);
  }
  emit("agents-known");
}

function keep(agent) {
  known.set(agent.id, agent);
  return agent;
}

/** `{agents, all}` for a search; `all` is false where there are more than one page holds. */
export async function findAgents(search = "") {
  const page = await get("agents/", { search, page_size: 100 });
  return { agents: page.results.map(keep).filter((one) => one.enabled), all: !page.next };
}

on("agent-changed", (agent) => emit("agents-known", keep(agent)));
on("agent-gone", (id) => emit("agents-known", known.set(id, null)));
on("signed-out", () => known.clear());
