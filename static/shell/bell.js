// @ts-check
// The bell in the header: budget alerts that were not seen yet, and the newest ones when it is pressed.

import { alertLine, budgetName } from "../shared/alerts.js";
import { get, post } from "../shared/api.js";
import { on } from "../shared/bus.js";
import { debounce, h, icon } from "../shared/dom.js";
import { notify } from "../shared/notices.js";
import { place } from "../shared/overlay.js";
import { signedIn } from "../shared/session.js";

const MOST = 6;

/** `go(address)` leads to the alerts. */
export function bell(go) {
  const number = h("span", { class: "bell-count", hidden: true, "aria-hidden": "true" });
  const el = h(
    "button",
    {
      type: "button",
      class: "icon-button bell",
      "aria-haspopup": "dialog",
      "aria-expanded": "false",
      onclick: () => (panel ? close() : open()),
    },
    icon("bell"),
    number,
  );
  let known = null; // the API's last answer
  let panel = null;

  async function refresh() {
    if (!signedIn() || document.visibilityState !== "visible") return;
    const found = await get("billing/alerts").catch(() => null);
    if (!found || !signedIn()) return;
    const seen = known && new Set(known.alerts.map((one) => one.id));
    known = found;
    draw();
    const fresh = seen && found.alerts.find((one) => !one.read_at && !seen.has(one.id));
    if (fresh) notify(`${fresh.threshold} % of ${budgetName(fresh)} is used.`, "warn");
  }

  function draw() {
    const unread = known?.unread ?? 0;
    number.hidden = !unread;
    number.textContent = unread > 9 ? "9+" : String(unread);
    const label = unread ? `Budget alerts, ${unread} new` : "Budget alerts";
    el.setAttribute("aria-label", label);
    el.title = label;
  }

  function open() {
    const alerts = known?.alerts ?? [];
    const all = h("a", { class: "button small", href: "/usage/alerts", onclick: follow }, "All alerts and limits");
    const list = alerts.length
      ? h(
          "ul",
          { class: "alert-list" },
          alerts.slice(0, MOST).map((one) => h("li", {}, alertLine(one))),
        )
      : h("p", { class: "muted" }, "No budget of yours came near its limit.");
    panel = h(
      "div",
      { class: "menu bell-panel", role: "dialog", "aria-label": "Budget alerts", tabIndex: -1 },
      h("h2", {}, "Budget alerts"),
      list,
      all,
    );
    document.body.append(panel);
    place(panel, el);
    el.setAttribute("aria-expanded", "true");
    document.addEventListener("pointerdown", outside, true);
    document.addEventListener("keydown", escape, true);
    panel.addEventListener(
      "focusout",
      ({ relatedTarget }) => relatedTarget && panel && !panel.contains(relatedTarget) && relatedTarget !== el && close(false),
    );
    panel.focus({ focusVisible: false });
    if (known?.unread) markRead(alerts.filter((one) => !one.read_at).slice(0, 100));
  }

  function close(refocus = true) {
    panel?.remove();
    panel = null;
    el.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside, true);
    document.removeEventListener("keydown", escape, true);
    if (refocus) el.focus();
  }
  const outside = (event) => !panel.contains(event.target) && !el.contains(event.target) && close(false);
  const escape = (event) => event.key === "Escape" && (event.stopPropagation(), close());

  function follow(event) {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    close(false);
    go("/usage/alerts");
  }

  async function markRead(alerts) {
    const done = await post("billing/alerts/read", { ids: alerts.map((one) => one.id) }).catch(() => null);
    if (!done || !known) return;
    const at = new Date().toISOString();
    known = {
      ...known,
      unread: Math.max(0, known.unread - alerts.length),
      alerts: known.alerts.map((one) => ({ ...one, read_at: one.read_at ?? at })),
    };
    draw();
  }

  const soon = debounce(refresh, 1200);
  on("profile", () => (known ? soon() : refresh()));
  on("news-alerts", refresh);
  on("alerts-read", refresh);
  on("signed-out", () => {
    known = null;
    if (panel) close(false);
    draw();
  });
  draw();
  return el;
}
