// @ts-check
// The single calls, newest first: filtered, ordered, each with its cost and a way to its conversation.

import { get } from "../shared/api.js";
import { emit } from "../shared/bus.js";
import { modelName } from "../shared/catalogue.js";
import { add, fill, h, icon } from "../shared/dom.js";
import { saveUsage } from "./export.js";
import { duration, usd } from "../shared/format.js";
import { section } from "../shared/section.js";
import { addressOf, choiceOf, filtersOf, PURPOSES, rangeOf, STATUSES } from "./address.js";
import { showCall, statusBadge } from "./call_dialog.js";
import { periodBar } from "./controls.js";
import { subjectOf } from "./series.js";

const HERE = "/usage/calls";

export function callsView(go, month) {
  const period = periodBar(HERE, go);
  const model = select("Model", "model", (value) => ({ model: value }));
  const status = select("Status", "status", (value) => ({ status: value }));
  const purpose = select("Made for", "purpose", (value) => ({ purpose: value }));
  const chips = h("div", { class: "chips" });
  const body = h("div", { class: "calls" });
  const exportButton = h("button", { type: "button", class: "button small", onclick: exportNow }, icon("download", 15), "Export CSV");
  let choice = null;
  let pages = 0;

  function select(label, name, change) {
    const el = h("select", {
      class: "field",
      "aria-label": label,
      onchange: () => go(addressOf(HERE, { ...choice, ...change(el.value) })),
    });
    return el;
  }
  const offer = (el, all, options, chosen) => {
    fill(
      el,
      h("option", { value: "" }, all),
      Object.entries(options).map(([value, text]) => h("option", { value }, text)),
    );
    el.value = chosen;
  };

  const load = section(body, ({ page, range }) => {
    const rows = h("tbody", {}, page.results.map(row));
    const more = h("button", { type: "button", class: "button", onclick: () => next() }, "Show more");
    let following = page.next;
    pages = 1;
    more.hidden = !following;
    async function next() {
      more.disabled = true;
      try {
        const found = await get(following);
        add(rows, [found.results.map(row)]);
        following = found.next;
        pages += 1;
        more.hidden = !following;
      } catch (problem) {
        emit("problem", problem);
      } finally {
        more.disabled = false;
      }
    }
    const filtered = ["model", "status", "purpose", "agent", "key"].some((name) => choice[name]);
    const reset = h(
      "a",
      { class: "button", href: addressOf(HERE, { period: choice.period, from: choice.from, to: choice.to }) },
      "Without filters",
    );
    if (!page.results.length)
      return fill(
        body,
        h("div", { class: "empty" }, h("p", {}, "No calls in this time", filtered ? " that pass these filters." : "."), filtered && reset),
      );
    const table = h(
      "table",
      { class: "data" },
      h("caption", { class: "off-screen" }, `Calls since ${range.from.toLocaleDateString()}`),
      h("thead", {}, h("tr", {}, headings())),
      rows,
    );
    fill(
      body,
      h("div", { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Calls" }, table),
      h("div", { class: "more" }, more),
    );
  });

  function headings() {
    const plain = (label, number) => h("th", { scope: "col", class: number ? "number" : "" }, label);
    const ordered = (label, field, number) => {
      const state = choice.ordering === field ? "ascending" : choice.ordering === `-${field}` ? "descending" : "none";
      const link = h(
        "a",
        { class: "sorter", href: addressOf(HERE, { ...choice, ordering: state === "descending" ? field : `-${field}` }) },
        label,
        state !== "none" && icon("chevron", 12),
      );
      return h("th", { scope: "col", class: number ? "number" : "", "aria-sort": state }, link);
    };
    return [
      ordered("Time", "created_at"),
      plain("Model"),
      ordered("Cost", "cost_usd", true),
      plain("Status"),
      plain("For"),
      plain("Tokens in", true),
      plain("Out", true),
      ordered("Latency", "latency_ms", true),
      plain(""),
    ];
  }

  async function figures(wanted) {
    const range = rangeOf(wanted, wanted.period === "month" ? await month() : null);
    const filters = filtersOf(wanted, range);
    const [page, used] = await Promise.all([
      get("billing/usage", { ...filters, ordering: wanted.ordering, page_size: 50 }),
      get("billing/usage", { from: filters.from, to: filters.to, group_by: "model" }),
    ]);
    const options = Object.fromEntries(used.results.map((line) => [line.model, line.label]));
    if (wanted.model && !options[wanted.model]) options[wanted.model] = modelName(wanted.model);
    if (wanted === choice) offer(model, "All models", options, wanted.model);
    return { page, range };
  }

  /** Agents and keys come from a row of the overview; what they are called is in the same figures. */
  async function drawChips(wanted) {
    fill(chips);
    for (const by of ["agent", "key"].filter((name) => wanted[name])) {
      const found = await get("billing/usage", { group_by: by, [by]: wanted[by] }).catch(() => ({ results: [] }));
      if (wanted !== choice) return;
      const name = found.results[0] ? subjectOf(found.results[0], by).label : wanted[by];
      add(chips, [
        h(
          "a",
          { class: "chip", href: addressOf(HERE, { ...wanted, [by]: "" }), title: "Take this filter away" },
          by === "key" ? "API key " : "Agent ",
          h("strong", {}, name),
          icon("close", 13),
        ),
      ]);
    }
  }

  async function exportNow() {
    exportButton.disabled = true;
    try {
      await saveUsage(filtersOf(choice, rangeOf(choice, choice.period === "month" ? await month() : null)), "calls");
    } catch (problem) {
      emit("problem", problem);
    } finally {
      exportButton.disabled = false;
    }
  }

  return {
    el: h(
      "section",
      { class: "panel", "aria-label": "Calls" },
      h("div", { class: "panel-head" }, h("h2", {}, "Calls"), exportButton),
      period.el,
      h("div", { class: "filters" }, model, status, purpose),
      chips,
      body,
    ),
    show(query) {
      const next = choiceOf(query);
      choice = next;
      period.show(next);
      offer(model, "All models", next.model ? { [next.model]: modelName(next.model) } : {}, next.model);
      offer(status, "Any status", STATUSES, next.status);
      offer(purpose, "Any purpose", PURPOSES, next.purpose);
      drawChips(next);
      return load(() => figures(next));
    },
    // Not under the eyes of somebody who has gone further down.
    again: () => pages < 2 && load(() => figures(choice)),
  };
}

function row(call) {
  const open = h(
    "button",
    { type: "button", class: "link quiet", onclick: () => showCall(call) },
    new Date(call.created_at).toLocaleString(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }),
  );
  open.setAttribute("aria-label", `Details of the call of ${open.textContent}`);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, open),
    h("td", {}, modelName(call.model)),
    h("td", { class: "number", title: `Exactly $${call.cost_usd}` }, usd(call.cost_usd)),
    h("td", {}, statusBadge(call)),
    h("td", {}, PURPOSES[call.purpose] ?? call.purpose),
    h(
      "td",
      { class: "number", title: call.cached_input_tokens ? `${call.cached_input_tokens} from the cache` : null },
      call.input_tokens.toLocaleString("en"),
    ),
    h("td", { class: "number" }, call.output_tokens.toLocaleString("en")),
    h("td", { class: "number" }, duration(call.latency_ms)),
    h("td", { class: "number" }, origin(call)),
  );
}

/** Where the call was made: its conversation, task or agent. */
function origin(call) {
  const [address, name] = call.conversation_id
    ? [`/?c=${call.conversation_id}`, "Open chat"]
    : call.task_id
      ? [`/tasks/${call.task_id}`, "Open task"]
      : call.agent_id
        ? [`/agents/${call.agent_id}`, "Open agent"]
        : [];
  return address ? h("a", { href: address }, name) : null;
}
