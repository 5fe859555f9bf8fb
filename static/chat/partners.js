// Agents as chat partners: those that the person may ask, fetched when they are first needed.

import { get } from "./api.js";
import { emit, on } from "./bus.js";

const known = new Map(); // id -> agent; null where there is none (any more), or it is no longer shared
const asked = new Set();

/** The agent; null: there is none any more; undefined: not known yet, `partners` is told when it is. */
export function partner(id) {
  if (id && !known.has(id) && !asked.has(id)) look(id);
  return known.get(id);
}

/** Asks the server what has become of an agent. */
export async function look(id) {
  asked.add(id);
  try {
    keep(await get(`agents/${id}`));
  } catch (problem) {
    if (problem.status === 404) known.set(id, null);
  } finally {
    asked.delete(id);
  }
  emit("partners");
}

function keep(agent) {
  known.set(agent.id, agent);
  return agent;
}

/** `{agents, all}` for a search; `all` is false where there are more than one page holds. */
export async function findPartners(search = "") {
  const page = await get("agents/", { search, page_size: 100 });
  return { agents: page.results.map(keep).filter((one) => one.enabled), all: !page.next };
}

on("agent-changed", (agent) => emit("partners", keep(agent)));
on("agent-gone", (id) => emit("partners", known.set(id, null)));
on("signed-out", () => known.clear());
