// @ts-check
// How agents and their runs are told on the page.

import { GOALS, modelName } from "../shared/catalogue.js";
import { h } from "../shared/dom.js";

/** The model of an agent or version: its name, or how `auto` chooses. */
export function modelLabel({ model, goal }) {
  const wanted = model.startsWith("auto:") ? model.slice(5) : goal;
  if (!model.startsWith("auto")) return modelName(model);
  return `Auto · ${GOALS[wanted]?.[0] ?? "as the person prefers"}`;
}

export const STATUS = {
  running: ["running", ""],
  waiting_approval: ["waits for you", "warn"],
  succeeded: ["succeeded", "good"],
  failed: ["failed", "bad"],
  cancelled: ["cancelled", "warn"],
  interrupted: ["interrupted", "warn"],
};

export const isOpen = (run) => run.status === "running" || run.status === "waiting_approval";

export function statusBadge(status) {
  const [text, kind] = STATUS[status] ?? [status, ""];
  return h("span", { class: `badge ${kind}` }, text);
}

/** Where a run was asked for. */
export function originLabel(run) {
  if (run.task_id) return h("a", { href: `/tasks/${run.task_id}` }, "Task");
  if (run.conversation_id) return h("a", { href: `/?c=${run.conversation_id}` }, "Chat");
  return "Direct";
}

export function agentBadges(agent) {
  return [
    agent.visibility === "shared" && h("span", { class: "badge" }, "shared"),
    !agent.mine && h("span", { class: "badge" }, `by ${agent.owner}`),
    !agent.enabled && h("span", { class: "badge bad", title: "An administrator switched it off; nobody can run it." }, "switched off"),
    h("span", { class: "badge" }, `version ${agent.version}`),
  ];
}

/** Seconds as "300 s" or "5 min". */
export const secondsLabel = (value) => (value % 60 ? `${value} s` : `${value / 60} min`);
