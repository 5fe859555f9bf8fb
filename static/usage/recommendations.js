// @ts-check
// What the API recommends, each with what it would save, and with one click where one does it.

import { patch } from "../shared/api.js";
import { emit } from "../shared/bus.js";
import { modelName } from "../shared/catalogue.js";
import { fill, h, icon } from "../shared/dom.js";
import { roughUsd } from "../shared/format.js";
import { loadProfile, profile } from "../shared/profile.js";
import { addressOf } from "./address.js";
import { askLimit } from "./limits.js";

const ICONS = {
  cheaper_model: "spark",
  prompt_caching: "retry",
  many_failed_calls: "alert",
  answers_cut_off: "pencil",
  long_outputs: "pencil",
  much_reasoning: "thought",
  deprecated_model: "clock",
  key_without_budget: "key",
};

export function advicePanel(report) {
  const from = `${report.calls.toLocaleString("en")} requests of the last 30 days`;
  const none = report.enough_data
    ? `Nothing to do better was found in ${from}.`
    : "Recommendations need about 30 requests over three days. Yours will stand here.";
  return [
    h("div", { class: "panel-head" }, h("h2", {}, "Recommendations"), report.results.length > 0 && h("small", {}, `from ${from}`)),
    report.results.length ? h("ul", { class: "advice" }, report.results.map(item)) : h("p", { class: "muted" }, none),
  ];
}

function item(one) {
  const saving =
    one.saving_per_month_usd && h("span", { class: "badge good" }, `saves about ${roughUsd(one.saving_per_month_usd)} a month`);
  return h(
    "li",
    { data: { kind: one.kind } },
    icon(ICONS[one.kind] ?? "spark", 18),
    h("div", {}, h("h3", {}, one.title, saving), h("p", {}, spoken(one.text)), h("div", { class: "acts" }, actions(one))),
  );
}

function actions({ kind, evidence }) {
  if (kind === "cheaper_model") return [preferButton({ default_model: evidence.alternative }), !isPreferred(AUTO) && preferButton(AUTO)];
  if (kind === "deprecated_model") return preferButton({ default_model: evidence.replaced_by });
  if (kind === "key_without_budget") return limitButton(evidence);
  const failed = kind === "many_failed_calls";
  return h(
    "a",
    { class: "button small", href: addressOf("/usage/calls", { model: evidence.model, status: failed ? "failed" : "" }) },
    failed ? "Show the failed calls" : "Show the calls",
  );
}

/** A sentence of the API, in which names stand between backticks. */
const spoken = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

const AUTO = { default_model: "auto" };
const isPreferred = (wanted) => Object.entries(wanted).every(([name, value]) => profile?.preferences?.[name] === value);

/** Sets what new conversations are asked with; a second press takes it back. */
function preferButton(wanted) {
  const name = wanted.default_model === "auto" ? "Auto" : modelName(wanted.default_model);
  const el = h("span", { class: "act" });
  let before = null;

  function draw() {
    if (!isPreferred(wanted))
      return void fill(el, h("button", { type: "button", class: "button small", onclick: () => set(wanted) }, `Make ${name} my default`));
    fill(
      el,
      h("span", { class: "done", role: "status" }, icon("check", 15), `${name} is your default for new conversations.`),
      before && h("button", { type: "button", class: "link", onclick: () => set(before) }, "Undo"),
    );
  }

  async function set(preferences) {
    const was = Object.fromEntries(Object.keys(wanted).map((key) => [key, profile?.preferences?.[key]]));
    el.querySelectorAll("button").forEach((one) => (one.disabled = true));
    try {
      await patch("auth/profile", { preferences });
      await loadProfile();
      before = preferences === wanted ? was : null;
    } catch (problem) {
      emit("problem", problem);
    }
    el.dispatchEvent(new CustomEvent("preferred", { bubbles: true }));
  }

  draw();
  el.redraw = draw;
  return el;
}

/** Several buttons show the same preference. */
export function keepInStep(panel) {
  panel.addEventListener("preferred", () => panel.querySelectorAll(".act").forEach((one) => one.redraw?.()));
}

function limitButton({ key_id: id }) {
  const el = h("span", { class: "act" });
  const ask = async () => {
    const budget = await askLimit({ scope: "key", scope_id: id });
    if (budget)
      fill(el, h("span", { class: "done", role: "status" }, icon("check", 15), `Limited to ${roughUsd(budget.limit_usd)} a month.`));
  };
  return fill(el, h("button", { type: "button", class: "button small", onclick: ask }, "Set a limit"));
}
