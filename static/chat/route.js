// "Why this model": the route's explanation as a person reads it.

import { modelName, providerName } from "./catalogue.js";
import { h } from "./dom.js";
import { duration, usd } from "./format.js";
import { dialog } from "./overlay.js";

// Candidates shown at first; with forty models the first few tell the story.
const SHOWN = 6;

export function showRoute(message) {
  const facts = normalRoute(message.route);
  const box = dialog("Why this model", summary(message, facts), tried(facts), table(facts, message.model), removed(facts), fine(facts));
  box.el.classList.add("route-dialog");
}

/** The explanation's fields by one name each. */
export function normalRoute(route) {
  const all = (route.candidates ?? []).map((one) => ({ id: one.model, cost: one.estimated_cost_usd ?? null, seconds: one.expected_seconds ?? null, chance: one.probability ?? null, value: one.value_usd ?? null, priced: one.price_known ?? true, removed: one.removed }));
  const candidates = all.filter((one) => !one.removed);
  return {
    reason: String(route.reason ?? ""),
    goal: String(route.goal ?? ""),
    requested: String(route.requested ?? ""),
    candidates,
    removed: all.filter((one) => one.removed).map((one) => ({ id: one.id, reason: words(one.removed) })),
    tried: (route.tried ?? []).map((one) => ({ id: one.model, reason: words(one.reason ?? one.error ?? one.code) })),
    baseline: route.baseline ?? null,
    difficulty: route.difficulty ?? null,
  };
}

const words = (reason) => String(reason ?? "").replaceAll("_", " ");

function summary(message, facts) {
  const goal = facts.goal ? ` for the goal “${facts.goal}”` : "";
  const asked = facts.requested && !facts.requested.startsWith("auto") ? `You asked for ${modelName(facts.requested)}.` : `Chosen automatically${goal}.`;
  return h(
    "div",
    { class: "route-summary" },
    h("p", {}, h("strong", {}, modelName(message.model)), message.provider ? ` by ${providerName(message.provider)}. ` : ". ", asked),
    facts.reason && h("p", { class: "reason" }, facts.reason),
    saving(facts),
  );
}

function saving(facts) {
  const amount = Number(facts.baseline?.saving_usd ?? 0);
  if (!amount) return null;
  const against = modelName(facts.baseline.model);
  const whole = Number(facts.baseline.estimated_cost_usd);
  const share = whole > 0 && amount > 0 ? ` (${Math.round((100 * amount) / whole)} %)` : "";
  return h("p", { class: `saving ${amount < 0 ? "more" : ""}` }, `Estimated ${amount < 0 ? "extra cost" : "saving"} against ${against}: ${usd(String(Math.abs(amount)))}${share}`);
}

function tried(facts) {
  if (!facts.tried.length) return null;
  return h("section", {}, h("h3", {}, "Tried first"), h("ul", {}, facts.tried.map((one) => h("li", {}, `${modelName(one.id)}: ${one.reason || "did not answer"}`))));
}

function table(facts, used) {
  if (!facts.candidates.length) return null;
  const rows = facts.candidates.map((one, i) =>
    h(
      "tr",
      { class: one.id === used ? "used" : "", hidden: i >= SHOWN && one.id !== used },
      h("th", { scope: "row" }, modelName(one.id), one.id === used && h("span", { class: "badge" }, "used")),
      h("td", { class: "number" }, usd(one.cost), !one.priced && h("span", { class: "badge", title: "Estimated at the ceiling that stands in for an unknown price" }, "price unknown")),
      h("td", { class: "number" }, one.seconds === null ? "–" : duration(one.seconds * 1000)),
      h("td", { class: "number" }, bar(one.chance)),
      h("td", { class: "number" }, one.value === null ? "–" : usd(one.value)),
    ),
  );
  const hidden = rows.filter((row) => row.hidden);
  const more = h("button", { type: "button", class: "link small", onclick: () => (more.remove(), hidden.forEach((row) => (row.hidden = false))) }, `Show ${hidden.length} more`);
  return h(
    "section",
    {},
    h("h3", {}, "Candidates"),
    h(
      "div",
      { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Candidates" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Model"), h("th", { scope: "col" }, "Estimate"), h("th", { scope: "col" }, "Time"), h("th", { scope: "col" }, "Chance"), h("th", { scope: "col", title: "What a good answer is worth, times its chance, less cost and waiting" }, "Value"))),
        h("tbody", {}, rows),
      ),
    ),
    hidden.length > 0 && more,
  );
}

/** A probability from 0 to 1 as a small bar with its number. */
function bar(value) {
  const number = Number(value);
  if (value === undefined || value === null || !Number.isFinite(number)) return "–";
  const meter = h("meter", { min: "0", max: "1", "aria-hidden": "true" });
  meter.value = Math.max(0, Math.min(1, number));
  return [meter, h("span", {}, number.toFixed(2))];
}

function removed(facts) {
  if (!facts.removed.length) return null;
  return h("details", {}, h("summary", {}, `${facts.removed.length} model${facts.removed.length === 1 ? "" : "s"} left out`), h("ul", {}, facts.removed.map((one) => h("li", {}, h("strong", {}, modelName(one.id)), one.reason ? `: ${one.reason}` : ""))));
}

function fine(facts) {
  const parts = [facts.difficulty !== null && `Estimated difficulty of the question: ${Number(facts.difficulty).toFixed(2)} of 1.`, "Estimates are made before the call; the answer's cost is what was really used."];
  return h("p", { class: "fine" }, parts.filter(Boolean).join(" "));
}
