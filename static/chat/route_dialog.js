// @ts-check
// "Why this model": the route's explanation as a person reads it.

import { modelName, providerName } from "../shared/catalogue.js";
import { h } from "../shared/dom.js";
import { duration, usd } from "../shared/format.js";
import { dialog } from "../shared/overlay.js";

// Candidates shown at first; with forty models the first few tell the story.
const SHOWN = 6;

export function showRoute(message) {
  /** @type {{route: Route}} */
  const { route } = message;
  const candidates = route.candidates.filter((one) => !one.removed);
  const removed = route.candidates.filter((one) => one.removed);
  const box = dialog(
    "Why this model",
    summary(message, route),
    triedModels(route.tried ?? []),
    candidateTable(candidates, message.model),
    removedModels(removed),
    finePrint(route),
  );
  box.el.classList.add("route-dialog");
}

const inWords = (code) => code.replaceAll("_", " ");

function summary(message, route) {
  const goal = route.goal ? ` for the goal “${route.goal}”` : "";
  const asked =
    route.requested && !route.requested.startsWith("auto")
      ? `You asked for ${modelName(route.requested)}.`
      : `Chosen automatically${goal}.`;
  return h(
    "div",
    { class: "route-summary" },
    h("p", {}, h("strong", {}, modelName(message.model)), message.provider ? ` by ${providerName(message.provider)}. ` : ". ", asked),
    route.reason && h("p", { class: "reason" }, route.reason),
    saving(route),
  );
}

function saving(route) {
  const amount = Number(route.baseline?.saving_usd ?? 0);
  if (!amount) return null;
  const against = modelName(route.baseline.model);
  const whole = Number(route.baseline.estimated_cost_usd);
  const share = whole > 0 && amount > 0 ? ` (${Math.round((100 * amount) / whole)} %)` : "";
  return h(
    "p",
    { class: `saving ${amount < 0 ? "more" : ""}` },
    `Estimated ${amount < 0 ? "extra cost" : "saving"} against ${against}: ${usd(String(Math.abs(amount)))}${share}`,
  );
}

/** @param {Route["tried"]} tried */
function triedModels(tried) {
  if (!tried.length) return null;
  return h(
    "section",
    {},
    h("h3", {}, "Tried first"),
    h(
      "ul",
      {},
      tried.map((one) => h("li", {}, `${modelName(one.model)}: ${inWords(one.reason)}`)),
    ),
  );
}

/** @param {Route["candidates"]} candidates */
function candidateTable(candidates, used) {
  if (!candidates.length) return null;
  const rows = candidates.map((one, i) =>
    h(
      "tr",
      { class: one.model === used ? "used" : "", hidden: i >= SHOWN && one.model !== used },
      h("th", { scope: "row" }, modelName(one.model), one.model === used && h("span", { class: "badge" }, "used")),
      h(
        "td",
        { class: "number" },
        usd(one.estimated_cost_usd),
        !one.price_known &&
          h("span", { class: "badge", title: "Estimated at the ceiling that stands in for an unknown price" }, "price unknown"),
      ),
      h("td", { class: "number" }, one.expected_seconds === undefined ? "–" : duration(one.expected_seconds * 1000)),
      h("td", { class: "number" }, bar(one.probability)),
      h("td", { class: "number" }, usd(one.value_usd)),
    ),
  );
  const hidden = rows.filter((row) => row.hidden);
  const more = h(
    "button",
    { type: "button", class: "link small", onclick: () => (more.remove(), hidden.forEach((row) => (row.hidden = false))) },
    `Show ${hidden.length} more`,
  );
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
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Model"),
            h("th", { scope: "col" }, "Estimate"),
            h("th", { scope: "col" }, "Time"),
            h("th", { scope: "col" }, "Chance"),
            h("th", { scope: "col", title: "What a good answer is worth, times its chance, less cost and waiting" }, "Value"),
          ),
        ),
        h("tbody", {}, rows),
      ),
    ),
    hidden.length > 0 && more,
  );
}

/** A probability from 0 to 1 as a small bar with its number. */
function bar(value) {
  if (value === undefined) return "–";
  const meter = h("meter", { min: "0", max: "1", "aria-hidden": "true" });
  meter.value = Math.max(0, Math.min(1, value));
  return [meter, h("span", {}, value.toFixed(2))];
}

/** @param {Route["candidates"]} removed */
function removedModels(removed) {
  if (!removed.length) return null;
  return h(
    "details",
    {},
    h("summary", {}, `${removed.length} model${removed.length === 1 ? "" : "s"} left out`),
    h(
      "ul",
      {},
      removed.map((one) => h("li", {}, h("strong", {}, modelName(one.model)), `: ${inWords(one.removed)}`)),
    ),
  );
}

function finePrint(route) {
  const parts = [
    typeof route.difficulty === "number" && `Estimated difficulty of the question: ${route.difficulty.toFixed(2)} of 1.`,
    "Estimates are made before the call; the answer's cost is what was really used.",
  ];
  return h("p", { class: "fine" }, parts.filter(Boolean).join(" "));
}
