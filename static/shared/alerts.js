// @ts-check
// An alert in words; the bell and the usage page show it alike.

import { h } from "./dom.js";
import { moment, usd } from "./format.js";

const THINGS = { key: "the API key", agent: "the agent", task: "the task" };

/** Which budget an alert is about. */
export const budgetName = ({ scope, subject }) =>
  scope === "user"
    ? "your monthly budget"
    : scope === "system"
      ? "the system's monthly budget"
      : `the monthly budget of ${THINGS[scope]} “${subject}”`;

export const alertLevel = ({ threshold }) => (threshold >= 100 ? "bad" : threshold >= 80 ? "warn" : "");

export function alertLine(one) {
  return [
    h("span", { class: `badge ${alertLevel(one)}` }, `${one.threshold} %`),
    h(
      "div",
      {},
      h(
        "p",
        {},
        one.threshold >= 100 ? `All of ${budgetName(one)} is used` : `${one.threshold} % of ${budgetName(one)} is used`,
        !one.read_at && [" ", h("span", { class: "badge new" }, "new")],
      ),
      h("small", {}, `${usd(one.spent_usd)} of ${usd(one.limit_usd)} · ${moment(one.created_at)}${one.mailed ? " · e-mailed" : ""}`),
    ),
  ];
}
