// @ts-check
// Numbers and times as a person reads them.

/** USD from the contract's decimal string: two places from a dollar up, else three significant digits. */
export function usd(text) {
  if (text === null || text === undefined || text === "") return "–";
  const value = Number(text);
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "$0";
  const sign = value < 0 ? "-" : "";
  const size = Math.abs(value);
  if (size >= 1) return `${sign}$${size.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  if (size < 1e-7) return `${sign}<$0.0000001`;
  const places = Math.min(9, Math.max(2, 2 - Math.floor(Math.log10(size))));
  const [whole, part = ""] = plainAmount(size.toFixed(places)).split(".");
  return `${sign}$${whole}.${part.padEnd(2, "0")}`;
}

/** A decimal string without the zeros at its end that add nothing to its value. */
export function plainAmount(text) {
  if (!text?.includes(".")) return text ?? "";
  let end = text.length;
  while (text[end - 1] === "0") end -= 1;
  return text.slice(0, text[end - 1] === "." ? end - 1 : end);
}

/** USD where a glance is enough: two places, four below a cent. */
export function roughUsd(text) {
  const value = Number(text ?? 0);
  if (value !== 0 && Math.abs(value) < 0.00005) return "<$0.0001";
  return Math.abs(value) < 0.01 && value !== 0 ? `$${value.toFixed(4)}` : usd(value.toFixed(2)).replace(/^\$0$/, "$0.00");
}

export function count(value) {
  if (value === null || value === undefined) return "–";
  const number = Number(value);
  if (number >= 1e6) return `${trim(number / 1e6)}M`;
  if (number >= 1e4) return `${trim(number / 1e3)}k`;
  return number.toLocaleString("en");
}

const trim = (value) => value.toFixed(value < 10 ? 1 : 0).replace(/\.0$/, "");

export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60000) return `${(milliseconds / 1000).toFixed(milliseconds < 10000 ? 1 : 0)} s`;
  return `${Math.floor(milliseconds / 60000)} min ${Math.round((milliseconds % 60000) / 1000)} s`;
}

export function bytes(value) {
  return value < 1024 * 1024 ? `${Math.max(1, Math.round(value / 1024))} KB` : `${(value / 1024 / 1024).toFixed(1)} MB`;
}

const DAY = 86400000;

/** The heading under which a conversation of that time stands. */
export function age(time, now = new Date()) {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const then = new Date(time).getTime();
  if (then >= midnight) return "Today";
  if (then >= midnight - DAY) return "Yesterday";
  if (then >= midnight - 7 * DAY) return "Previous 7 days";
  if (then >= midnight - 30 * DAY) return "Previous 30 days";
  return new Date(time).toLocaleDateString("en", { month: "long", year: "numeric" });
}

export const moment = (time) => new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
