// @ts-check
// The controls of a schedule.

import { h } from "../shared/dom.js";
import { numberIn } from "../shared/fields.js";

const KINDS = { now: "At once, one time", at: "At a time", interval: "Again and again", cron: "By a cron line", manual: "Only when asked" };
const UNITS = { 60: "minutes", 3600: "hours", 86400: "days" };

/** `value()` is the schedule as the API takes it; its errors come to the fields `schedule.…`. */
export function scheduleControls(schedule, ownZone, fields) {
  const kind = Object.assign(
    h(
      "select",
      { class: "field", onchange: turn },
      Object.entries(KINDS).map(([value, text]) => h("option", { value }, text)),
    ),
    { value: schedule.type },
  );
  const at = Object.assign(h("input", { class: "field", type: "datetime-local" }), { value: local(schedule.at) });
  const unit = Object.keys(UNITS).findLast((size) => schedule.every_seconds % Number(size) === 0) ?? "60";
  const count = Object.assign(h("input", { class: "field", type: "number", min: "1", step: "1" }), {
    value: schedule.every_seconds ? schedule.every_seconds / Number(unit) : 1,
  });
  const size = Object.assign(
    h(
      "select",
      { class: "field", "aria-label": "Unit" },
      Object.entries(UNITS).map(([value, text]) => h("option", { value }, text)),
    ),
    { value: unit },
  );
  const cron = Object.assign(h("input", { class: "field", autocomplete: "off", spellcheck: "false", placeholder: "30 9 * * 1-5" }), {
    value: schedule.cron ?? "",
  });
  const zone = Object.assign(h("input", { class: "field", list: "task-zones", autocomplete: "off", spellcheck: "false" }), {
    value: schedule.time_zone ?? ownZone,
  });
  const zones = h(
    "datalist",
    { id: "task-zones" },
    (Intl.supportedValuesOf?.("timeZone") ?? []).map((one) => h("option", { value: one })),
  );

  const parts = {
    at: h("div", { class: "two" }, fields.add("schedule.at", "Time", at, "your browser's local time")),
    interval: h(
      "div",
      { class: "three" },
      fields.add("schedule.every_seconds", "Every", count),
      h("div", {}, h("label", { "aria-hidden": "true" }, "Unit"), size),
    ),
    cron: h(
      "div",
      { class: "two" },
      fields.add("schedule.cron", "Cron line", cron, "minute, hour, day, month, weekday"),
      fields.add("schedule.time_zone", "Time zone", zone),
    ),
  };
  const el = h("div", { class: "form" }, h("div", { class: "two" }, fields.add("schedule", "It runs", kind)), Object.values(parts), zones);
  function turn() {
    for (const [name, part] of Object.entries(parts)) part.hidden = name !== kind.value;
  }
  turn();

  function value() {
    const type = kind.value;
    if (type === "at") return { type, at: at.value ? new Date(at.value).toISOString() : null };
    // The first moment stays where only something else was changed.
    if (type === "interval") return { type, every_seconds: numberIn(count) === null ? null : numberIn(count) * Number(size.value) };
    if (type === "cron") return { type, cron: cron.value.trim(), time_zone: zone.value.trim() };
    return { type };
  }
  return { el, value };
}

/** A time as `datetime-local` wants it. */
function local(time) {
  if (!time) return "";
  const at = new Date(time);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
