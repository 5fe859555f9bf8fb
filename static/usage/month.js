// @ts-check
// The month so far as cards, and where it is going.

import { modelName } from "../shared/catalogue.js";
import { h } from "../shared/dom.js";
import { count, moment, roughUsd, usd } from "../shared/format.js";

export function monthCards(month) {
  const { spent_usd: spent, held_usd: held, limit_usd: limit, left_usd: left } = month;
  const share = limit === null ? null : Number(spent) / Math.max(Number(limit), 1e-9);
  const saved = Number(month.saved_usd);
  const byCache = Number(month.cache_saved_usd);
  const cached = month.cached_input_tokens
    ? `, ${count(month.cached_input_tokens)} of the input cached${byCache > 0 ? `, which saved ${usd(month.cache_saved_usd)}` : ""}`
    : "";
  return h(
    "div",
    { class: "cards" },
    card(
      "Spent this month",
      h("span", { title: `Exactly $${spent}` }, usd(spent)),
      Number(held) ? `and ${usd(held)} held for calls that run` : `since ${day(month.starts_at, month.time_zone)}`,
    ),
    card(
      "Budget left",
      limit === null ? "No limit" : h("span", { title: `Exactly $${left}` }, roughUsd(left)),
      limit === null
        ? "Your use is counted, not limited."
        : `of ${usd(limit)} until ${day(new Date(Date.parse(month.ends_at) - 1), month.time_zone)}`,
      share !== null && meter(share),
    ),
    card("Requests", count(month.calls), month.failed_calls ? `${count(month.failed_calls)} did not end well` : "this month"),
    card(
      "Tokens",
      h(
        "span",
        { title: `${month.input_tokens.toLocaleString("en")} in, ${month.output_tokens.toLocaleString("en")} out` },
        count(month.input_tokens),
        h("i", {}, " in"),
      ),
      `${count(month.output_tokens)} out${cached}`,
    ),
    card(
      saved < 0 ? "More than the baseline" : "Saved by routing",
      h("span", { class: saved > 0 ? "gain" : "" }, usd(month.saved_usd.replace("-", ""))),
      `against ${modelName(month.baseline_model)} for every call`,
    ),
  );
}

function card(name, value, note, extra) {
  return h("div", { class: "card" }, h("h3", {}, name), h("p", { class: "big" }, value), h("small", {}, note), extra);
}

export function meter(share, label = "Share of the budget") {
  const el = h("progress", { max: "1", class: share >= 1 ? "over" : share >= 0.8 ? "near" : "", "aria-label": label });
  el.value = Math.min(1, share);
  return el;
}

/** The forecast as a bar from nothing to whatever is largest, and in words. */
export function forecastPanel({ forecast, limit_usd: limit, spent_usd: spent, ends_at: ends, time_zone: zone }) {
  const last = new Date(Date.parse(ends) - 1);
  const head = h("h2", {}, `Until ${day(last, zone)}`);
  if (!forecast)
    return h(
      "section",
      { class: "panel", "aria-label": "Forecast" },
      head,
      h("p", { class: "muted" }, "A forecast needs three whole days of use. Come back soon."),
    );
  const most = Math.max(Number(limit ?? 0), Number(forecast.high_usd), 1e-9) * 1.04;
  const at = (text) => `${Math.min(100, (Number(text) / most) * 100)}%`;
  const mark = (name, text) => placed(h("span", { class: `mark ${name}` }), { left: at(text) });
  const bar = h(
    "div",
    { class: "forecast", "aria-hidden": "true" },
    placed(h("span", { class: "range" }), {
      left: at(forecast.low_usd),
      width: `${((Number(forecast.high_usd) - Number(forecast.low_usd)) / most) * 100}%`,
    }),
    placed(h("span", { class: "spent" }), { width: at(spent) }),
    mark("expected", forecast.expected_usd),
    limit !== null && mark("limit", limit),
  );
  const key = (name, label, value) =>
    h("li", {}, h("span", { class: `key ${name}`, "aria-hidden": "true" }), label, h("strong", {}, value));
  return h(
    "section",
    { class: "panel", "aria-label": "Forecast" },
    h("div", { class: "panel-head" }, head, verdict(forecast, limit, spent)),
    bar,
    h(
      "ul",
      { class: "keys" },
      key("spent", "Spent ", usd(spent)),
      key("expected", "Expected ", roughUsd(forecast.expected_usd)),
      key("range", "Range ", `${roughUsd(forecast.low_usd)} – ${roughUsd(forecast.high_usd)}`),
      limit !== null && key("limit", "Budget ", usd(limit)),
    ),
    h(
      "p",
      { class: "fine" },
      `At ${roughUsd(forecast.per_day_usd)} a day, the mean of your last ${forecast.days_observed} whole days. The range holds in four months of five.`,
    ),
  );
}

function verdict({ exhausted_at: at, high_usd: high }, limit, spent) {
  if (limit === null) return null;
  if (Number(spent) >= Number(limit)) return h("span", { class: "badge bad" }, "The budget is used up");
  if (at)
    return h(
      "span",
      { class: "badge warn", title: moment(at) },
      `Used up around ${new Date(at).toLocaleDateString(undefined, { weekday: "short", month: "short", day: "numeric" })}`,
    );
  return Number(high) > Number(limit)
    ? h("span", { class: "badge warn" }, "Could run out")
    : h("span", { class: "badge good" }, "The budget lasts");
}

function placed(el, styles) {
  for (const [name, value] of Object.entries(styles)) el.style.setProperty(name, value);
  return el;
}

const day = (time, zone) => new Date(time).toLocaleDateString(undefined, { timeZone: zone, month: "long", day: "numeric" });
