// @ts-check
// How tasks and their runs are told on the page.

import { h } from "../shared/dom.js";
import { moment } from "../shared/format.js";

export const STATUS = {
  scheduled: ["scheduled", ""],
  queued: ["queued", ""],
  running: ["running", ""],
  waiting_approval: ["waits for you", "warn"],
  succeeded: ["succeeded", "good"],
  failed: ["failed", "bad"],
  cancelled: ["cancelled", "warn"],
  paused: ["paused", ""],
};

export const isOpen = (run) => ["scheduled", "queued", "running", "waiting_approval"].includes(run?.status);

export function statusBadge(status) {
  const [text, kind] = STATUS[status] ?? [status, ""];
  return h("span", { class: `badge ${kind}` }, text);
}

/** @type {[number, string][]} */
const UNITS = [
  [86400, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** "every 2 hours" of a number of seconds. */
export function intervalLabel(seconds) {
  const [size, name] = UNITS.find(([unit]) => seconds % unit === 0);
  const count = seconds / size;
  return count === 1 ? `every ${name}` : `every ${count} ${name}s`;
}

/** A schedule as a person says it. */
export function scheduleLabel({ type, at, every_seconds: every, cron, time_zone: zone }) {
  if (type === "manual") return "only when asked";
  if (type === "now") return "once, at once";
  if (type === "at") return `once, ${moment(at)}`;
  if (type === "interval") return intervalLabel(every);
  return `cron ${cron} (${zone})`;
}
