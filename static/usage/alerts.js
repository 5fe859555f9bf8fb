// @ts-check
// Alerts that budgets raised, when they shall, and the limits themselves.

import { alertLine } from "../shared/alerts.js";
import { get, post } from "../shared/api.js";
import { emit } from "../shared/bus.js";
import { fill, h, icon } from "../shared/dom.js";
import { section } from "../shared/section.js";
import { settingsForm } from "./alert_settings.js";
import { askLimit, limitsTable } from "./limits.js";

export function alertsView() {
  const told = h("section", { class: "panel", "aria-label": "Alerts" });
  const when = h("section", { class: "panel", "aria-label": "When to be told" });
  const limits = h("section", { class: "panel", "aria-label": "Monthly limits" });

  const loadAlerts = section(told, (found) => {
    const read = h("button", { type: "button", class: "button small", onclick: markRead }, icon("check", 15), "Mark all as read");
    fill(
      told,
      h("div", { class: "panel-head" }, h("h2", {}, "Alerts"), found.unread > 0 && read),
      found.alerts.length
        ? h(
            "ul",
            { class: "alert-list" },
            found.alerts.map((one) => h("li", {}, alertLine(one))),
          )
        : h("p", { class: "muted" }, "No budget of yours came near its limit, this month or the last."),
    );
    // A form that somebody writes in is not drawn again under their hands.
    if (!when.querySelector("form"))
      fill(when, h("div", { class: "panel-head" }, h("h2", {}, "When to be told")), settingsForm(found.settings));
  });
  const loadLimits = section(limits, (found) => {
    const more = h(
      "button",
      { type: "button", class: "button small", onclick: async () => (await askLimit()) && showLimits() },
      icon("plus", 15),
      "Add a limit",
    );
    fill(limits, h("div", { class: "panel-head" }, h("h2", {}, "Monthly limits"), more), limitsTable(found, showLimits));
  });
  const showAlerts = () => loadAlerts(() => get("billing/alerts"));
  const showLimits = () => loadLimits(() => get("billing/budgets"));

  async function markRead(event) {
    event.currentTarget.disabled = true;
    await post("billing/alerts/read").catch((problem) => emit("problem", problem));
    emit("alerts-read");
    showAlerts();
  }

  return {
    el: h("div", { class: "stack" }, limits, told, when),
    show() {
      fill(when);
      return Promise.all([showAlerts(), showLimits()]);
    },
    again: () => Promise.all([showAlerts(), showLimits()]),
  };
}
