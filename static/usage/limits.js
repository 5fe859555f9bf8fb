// @ts-check
// Monthly limits of keys, agents and tasks, and the person's own, which staff set.

import { get, put } from "../shared/api.js";
import { add, fill, h } from "../shared/dom.js";
import { plainAmount, usd } from "../shared/format.js";
import { dialog } from "../shared/overlay.js";
import { describeError, fieldErrors } from "../shared/problems.js";
import { meter } from "./month.js";

const THINGS = { key: "API key", agent: "Agent", task: "Task" };
// Where what may be limited is listed.
/** @type {Record<string, [string, Record<string, string>?]>} */
const LISTS = { key: ["auth/api-keys"], agent: ["agents/", { mine: "true" }], task: ["tasks/"] };

/** `changed()` after a limit was set. */
export function limitsTable(budgets, changed) {
  const limited = [
    ...budgets.filter((one) => one.scope === "user"),
    ...budgets.filter((one) => one.scope !== "user" && one.limit_usd !== null),
  ];
  const edit = async (one) => (await askLimit(one)) && changed();
  const rows = limited.map((one) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, one.scope === "user" ? "Your account" : [one.label, h("span", { class: "badge" }, THINGS[one.scope])]),
      h("td", { class: "number" }, usd(one.spent_usd)),
      h("td", { class: "number" }, one.limit_usd === null ? "none" : usd(one.limit_usd)),
      h("td", { class: "number" }, one.left_usd === null ? "–" : usd(one.left_usd)),
      h(
        "td",
        { class: "used" },
        one.used_percent !== null && [h("span", {}, `${one.used_percent} %`), meter(one.used_percent / 100, `Used by ${one.label}`)],
      ),
      h(
        "td",
        { class: "number" },
        one.scope === "user"
          ? h("small", {}, "set by staff")
          : h(
              "button",
              { type: "button", class: "button small", "aria-label": `Change the limit of ${one.label}`, onclick: () => edit(one) },
              "Change",
            ),
      ),
    ),
  );
  const head = ["For", "Spent", "Limit", "Left", "Used", ""].map((name, index) =>
    h("th", { scope: "col", class: index && index !== 4 ? "number" : "" }, name),
  );
  return h(
    "div",
    { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Monthly limits" },
    h("table", { class: "data" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)),
  );
}

/** Asks for the limit of a budget, or of whatever is chosen where none is named; the budget as it was saved, or undefined. */
export async function askLimit(budget = {}) {
  const { scope, scope_id: id, label, limit_usd: limit } = budget;
  const subject = h("select", { class: "field", id: "limit-subject", required: true });
  const amount = h("input", {
    class: "field",
    id: "limit-amount",
    inputmode: "decimal",
    placeholder: scope ? "no limit" : "5.00",
    autocomplete: "off",
    "aria-describedby": "limit-trouble",
  });
  amount.value = plainAmount(limit);
  amount.required = !scope;
  const trouble = h("p", { class: "form-error", role: "alert", id: "limit-trouble" });
  const save = h("button", { class: "button primary" }, "Save");

  async function submit(event) {
    event.preventDefault();
    const [chosen, chosenId] = scope ? [scope, id] : subject.value.split(" ");
    fill(trouble);
    amount.removeAttribute("aria-invalid");
    save.disabled = true;
    try {
      box.close(
        await put("billing/budgets", { scope: chosen, scope_id: chosenId, limit_usd: amount.value.trim().replace(/^\$/, "") || null }),
      );
    } catch (problem) {
      const field = fieldErrors(problem).limit_usd;
      fill(trouble, field ?? describeError(problem).text);
      if (field) amount.setAttribute("aria-invalid", "true");
      amount.focus();
    } finally {
      save.disabled = false;
    }
  }

  const form = h(
    "form",
    { class: "form", onsubmit: submit },
    !scope && h("div", {}, h("label", { for: "limit-subject" }, "For"), subject),
    h(
      "div",
      {},
      h(
        "label",
        { for: "limit-amount" },
        "Dollars a month",
        h("small", {}, scope ? "It holds from the next call on. Leave it empty for no limit." : "It holds from the next call on."),
      ),
      amount,
    ),
    trouble,
    h("footer", {}, h("button", { type: "button", class: "button", onclick: () => box.close() }, "Cancel"), save),
  );
  const box = dialog(label ? `Limit of ${label}` : "Monthly limit", form);
  if (scope) amount.select();
  else await offer(subject, trouble);
  return box.closed;
}

async function offer(subject, trouble) {
  fill(subject, h("option", { value: "" }, "Choose…"));
  subject.focus();
  const lists = await Promise.all(
    Object.entries(LISTS).map(async ([scope, [path, query]]) => [scope, await get(path, { ...query, page_size: 100 }).catch(() => null)]),
  );
  for (const [scope, page] of lists) {
    const found = page?.results ?? [];
    if (found.length)
      add(
        subject,
        h(
          "optgroup",
          { label: `${THINGS[scope]}s` },
          found.map((one) => h("option", { value: `${scope} ${one.id}` }, one.name)),
        ),
      );
  }
  if (subject.options.length === 1) fill(trouble, "You have no key, agent or task that could be limited.");
}
