// @ts-check
// The person's corner of the side bar: month's spend and budget, theme, sign out.

import { on } from "../shared/bus.js";
import { fill, h, icon } from "../shared/dom.js";
import { roughUsd } from "../shared/format.js";
import { menu } from "../shared/overlay.js";
import { profile } from "../shared/profile.js";
import { logOut } from "../shared/session.js";
import { toggleTheme } from "../shared/theme.js";

/** `go(address)` leads to a page. */
export function accountMenu(go) {
  const spend = h("div", { class: "spend" });
  const button = h("button", {
    type: "button",
    class: "account",
    "aria-haspopup": "menu",
    "aria-expanded": "false",
    onclick: () => openMenu(button, go),
  });
  on("profile", (person) => {
    fill(spend, spendBar(person.budget));
    const name = person.name || person.email;
    fill(
      button,
      h("span", { class: "initial", "aria-hidden": "true" }, name.slice(0, 1).toUpperCase()),
      h("span", { class: "who" }, name),
      icon("more", 16),
    );
    button.setAttribute("aria-label", `Account of ${name}`);
  });
  return h("div", { class: "corner" }, spend, button);
}

/** @param {PersonProfile["budget"]} budget */
function spendBar({ spent_usd: spent, limit_usd: limit, left_usd: left }) {
  const share = limit ? Number(spent) / Math.max(Number(limit), 1e-9) : 0;
  const bar = limit
    ? h("progress", { max: "1", class: share >= 1 ? "over" : share >= 0.8 ? "near" : "", "aria-label": "Share of this month's budget" })
    : null;
  if (bar) bar.value = Math.min(1, share);
  const hint = share >= 1 ? "The budget is used up until next month." : share >= 0.8 ? `${roughUsd(left)} left this month.` : null;
  return [
    h(
      "div",
      { class: "spend-line" },
      h("span", {}, "This month"),
      h("span", {}, h("strong", {}, roughUsd(spent)), limit ? ` of ${roughUsd(limit)}` : ""),
    ),
    bar,
    hint && h("p", { class: "spend-hint" }, hint),
  ];
}

function openMenu(anchor, go) {
  menu(
    anchor,
    [
      { label: "Account and keys", icon: "key", run: () => go("/account") },
      { label: "Dark or light", icon: "sun", run: toggleTheme },
      profile?.role === "admin" && { label: "Administration", icon: "shield", run: () => window.open("/admin/", "_blank", "noopener") },
      { label: "API documentation", icon: "book", run: () => window.open("/docs", "_blank", "noopener") },
      { label: "Sign out", icon: "leave", run: () => logOut() },
      { label: "Sign out everywhere", icon: "leave", run: () => logOut(true), danger: true },
    ],
    "Account",
  );
}
