// @ts-check
// What of the usage the address asks for, and the addresses that ask for it.

export const PERIODS = { "24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days", month: "This month", custom: "Custom" };
export const GROUPS = { day: "Total", model: "Model", agent: "Agent", key: "API key" };
export const MEASURES = { cost: "Cost", requests: "Requests", tokens: "Tokens" };
export const STATUSES = { ok: "ok", failed: "failed", cancelled: "cancelled", interrupted: "interrupted" };
export const PURPOSES = { chat: "Chat", agent: "Agents", task: "Tasks", api: "API", title: "Titles" };
export const ORDERS = ["created_at", "cost_usd", "latency_ms"].flatMap((name) => [name, `-${name}`]);

const DEFAULTS = {
  period: "30d",
  by: "model",
  show: "cost",
  from: "",
  to: "",
  model: "",
  status: "",
  purpose: "",
  agent: "",
  key: "",
  ordering: "-created_at",
};
const FIELDS = {
  "/usage": ["period", "from", "to", "by", "show"],
  "/usage/calls": ["period", "from", "to", "model", "status", "purpose", "agent", "key", "ordering"],
};
const DAY = 86400000;
const HOUR = 3600000;

/** What is chosen; whatever makes no sense is as if it were not there. */
export function choiceOf(query) {
  const said = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, query.get(name) || value]));
  const known = { period: PERIODS, by: GROUPS, show: MEASURES, status: STATUSES, purpose: PURPOSES };
  for (const [name, options] of Object.entries(known)) if (!Object.hasOwn(options, said[name])) said[name] = DEFAULTS[name];
  if (!ORDERS.includes(said.ordering)) said.ordering = DEFAULTS.ordering;
  if (said.period === "custom") {
    if (!isDay(said.to)) said.to = dayOf(new Date());
    if (!isDay(said.from)) said.from = dayOf(new Date(midnight(said.to) - 29 * DAY));
  }
  return said;
}

/** `path` with what is chosen there and is not the usual. */
export function addressOf(path, choice) {
  const query = new URLSearchParams();
  for (const name of FIELDS[path]) {
    if ((name === "from" || name === "to") && choice.period !== "custom") continue;
    if (choice[name] && choice[name] !== DEFAULTS[name]) query.set(name, choice[name]);
  }
  return query.size ? `${path}?${query}` : path;
}

/** `{from, to, bucket}`: `to` null means until now. Days are the API's, from midnight to midnight UTC. */
export function rangeOf(choice, month, now = new Date()) {
  const today = midnight(dayOf(now));
  if (choice.period === "24h") return { from: new Date(Math.floor(now.getTime() / HOUR) * HOUR - 23 * HOUR), to: null, bucket: "hour" };
  if (choice.period === "month") return { from: new Date(month.starts_at), to: null, bucket: "day" };
  if (choice.period !== "custom") return { from: new Date(today - (parseInt(choice.period, 10) - 1) * DAY), to: null, bucket: "day" };
  const [from, to] = [midnight(choice.from), midnight(choice.to) + DAY];
  return { from: new Date(from), to: new Date(to), bucket: to - from <= 2 * DAY ? "hour" : "day" };
}

/** The range and filters as the API's parameters. */
export function filtersOf(choice, range) {
  const { model, status, purpose, agent, key } = choice;
  return { from: range.from.toISOString(), to: range.to?.toISOString(), model, status, purpose, agent, key };
}

/** The beginnings of all hours or days of a range that have begun, as the API writes them. */
export function startsOf({ from, to, bucket }, now = new Date()) {
  const step = bucket === "hour" ? HOUR : DAY;
  const end = Math.min((to ?? now).getTime(), now.getTime());
  const starts = [];
  for (let at = Math.floor(from / step) * step; at < end && starts.length < 2000; at += step) starts.push(nameOf(new Date(at), bucket));
  return starts;
}

const nameOf = (at, bucket) => (bucket === "hour" ? `${at.toISOString().slice(0, 19)}Z` : dayOf(at));

export const dayOf = (at) => at.toISOString().slice(0, 10);
const midnight = (day) => Date.parse(`${day}T00:00:00Z`);
const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text) && midnight(text) > 0;

/** A day or an hour for a person: days are UTC's, hours are the person's own. */
export function shownStart(start, long = false) {
  if (start.length === 10)
    return new Date(midnight(start)).toLocaleDateString(undefined, {
      timeZone: "UTC",
      month: "short",
      day: "numeric",
      ...(long && { weekday: "short", year: "numeric" }),
    });
  return new Date(start).toLocaleString(undefined, { hour: "2-digit", minute: "2-digit", ...(long && { month: "short", day: "numeric" }) });
}
