// @ts-check
// Keys for programs: a list, a form for a new one, and the moment in which it can be seen.

import { get, remove } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";
import { fill, h, icon } from "../shared/dom.js";
import { moment, usd } from "../shared/format.js";
import { notify } from "../shared/notices.js";
import { confirm } from "../shared/overlay.js";
import { section } from "../shared/section.js";
import { askKey } from "./new_key.js";

export function keysView() {
  const place = h("div", {});
  const make = h(
    "button",
    { type: "button", class: "button primary", onclick: async () => (await askKey()) && show() },
    icon("plus", 16),
    "New key",
  );
  const intro = h(
    "p",
    { class: "hint" },
    "A key lets a program act as you: any OpenAI or Anthropic client with its base URL changed, or this API. Usage, budgets and limits are yours.",
  );
  const el = h(
    "section",
    { class: "panel", "aria-label": "API keys" },
    h("div", { class: "panel-head" }, h("h2", {}, "API keys"), make),
    intro,
    place,
  );
  let keys = [];
  let next = null;

  const load = section(place, draw);

  function draw(page) {
    keys = page.previous === "more" ? [...keys, ...page.results] : page.results;
    next = page.next;
    if (!keys.length) return fill(place, h("p", { class: "empty" }, "No key yet."));
    const more =
      next &&
      h(
        "div",
        { class: "more" },
        h(
          "button",
          { type: "button", class: "button", onclick: () => load(async () => ({ ...(await get(next)), previous: "more" })) },
          "Show more",
        ),
      );
    fill(place, table(keys, revoke), more);
  }

  async function revoke(key) {
    if (
      !(await confirm(
        "Revoke key",
        `Programs that use “${key.name}” (${key.prefix}…) are refused from their next request on. This cannot be undone.`,
        "Revoke",
      ))
    )
      return;
    try {
      await remove(`auth/api-keys/${key.id}`);
      notify("Revoked");
    } catch (problem) {
      if (problem.status !== 404) emit("problem", problem);
    }
    show();
  }

  const show = () => load(() => get("auth/api-keys", { page_size: 50 }));
  on("news-credentials", (ids) => ids.size && el.isConnected && show());
  return { el, show };
}

function table(keys, revoke) {
  const head = ["Name", "May", "Monthly budget", "Last used", "Ends", ""].map((name) => h("th", { scope: "col" }, name));
  return h(
    "div",
    { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Your keys" },
    h(
      "table",
      { class: "data" },
      h("thead", {}, h("tr", {}, head)),
      h(
        "tbody",
        {},
        keys.map((key) => row(key, revoke)),
      ),
    ),
  );
}

function row(key, revoke) {
  const ended = key.expires_at && new Date(key.expires_at) <= new Date();
  return h(
    "tr",
    { class: ended ? "ended" : "" },
    h("th", { scope: "row" }, key.name, h("br"), h("code", {}, `${key.prefix}…`), h("small", {}, ` since ${moment(key.created_at)}`)),
    h(
      "td",
      {},
      h(
        "span",
        { class: "chips" },
        key.scopes.map((scope) => h("span", { class: "badge" }, scope)),
      ),
    ),
    h(
      "td",
      {},
      key.monthly_budget_usd === null ? "yours" : usd(key.monthly_budget_usd),
      key.rate_limit && [h("br"), h("small", {}, `${key.rate_limit} requests a window`)],
    ),
    h("td", {}, key.last_used_at ? moment(key.last_used_at) : "never"),
    h("td", {}, ended ? h("span", { class: "badge bad" }, "expired") : key.expires_at ? moment(key.expires_at) : "never"),
    h(
      "td",
      {},
      h("button", { type: "button", class: "button small", "aria-label": `Revoke ${key.name}`, onclick: () => revoke(key) }, "Revoke"),
    ),
  );
}
