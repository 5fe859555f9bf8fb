// @ts-check
// Running an agent, and the runs that there were.

import { get } from "../shared/api.js";
import { on } from "../shared/bus.js";
import { h, icon, isEnter } from "../shared/dom.js";
import { fieldSet } from "../shared/fields.js";
import { duration, moment, usd } from "../shared/format.js";
import { pagedList } from "../shared/paged_list.js";
import { originLabel, STATUS, statusBadge } from "./labels.js";
import { startRun } from "./streamed_runs.js";

// With more changed runs than this the list is read instead of each of them.
const MOST_SINGLE = 5;
const drafts = new Map(); // agent id -> what was typed
on("signed-out", () => drafts.clear());

export function runsView(agent, go) {
  const box = runBox(agent, go);
  const status = h(
    "select",
    { class: "field", "aria-label": "Status", onchange: () => go(`/agents/${agent.id}/runs${status.value && `?status=${status.value}`}`) },
    h("option", { value: "" }, "All runs"),
    Object.entries(STATUS).map(([value, [text]]) => h("option", { value }, text)),
  );
  const list = pagedList((runs) => {
    return runs.length
      ? table(runs, agent)
      : h("p", { class: "empty" }, status.value ? "No run has this status." : "This agent has not run for you yet.");
  });
  let stop = null;
  const others = new Set(); // runs that changed and are not in this list: another agent's, or of another status
  const load = () => list.load("agents/runs/", { agent: agent.id, status: status.value, page_size: 20 });

  /** Reads the runs that changed; the list where one of them may be new, or where many changed. */
  async function renew(changed) {
    const ids = new Set([...changed].filter((id) => !others.has(id)));
    if (changed.size && !ids.size) return;
    const shown = list.items().filter((run) => ids.has(run.id));
    if (!ids.size || ids.size > MOST_SINGLE || shown.length < ids.size) {
      if (!(await list.again())) return;
      const now = new Set(list.items().map((run) => run.id));
      for (const id of ids) if (!now.has(id)) others.add(id);
      return;
    }
    const fresh = await Promise.all(shown.map((run) => get(`agents/runs/${run.id}`).catch(() => run)));
    if (!el.isConnected) return;
    for (const run of fresh) Object.assign(list.items().find((one) => one.id === run.id) ?? {}, run);
    list.redraw();
  }

  const el = h(
    "div",
    { class: "stack" },
    box.el,
    h(
      "section",
      { class: "panel", "aria-label": "Past runs" },
      h("div", { class: "panel-head" }, h("h2", {}, "Past runs"), status),
      list.el,
    ),
  );
  return {
    el,
    show(query) {
      const wanted = query.get("status") ?? "";
      status.value = Object.hasOwn(STATUS, wanted) ? wanted : "";
      box.start(query.get("again"));
      stop ??= on("news-runs", renew);
      others.clear();
      return load();
    },
    leave() {
      stop?.();
      stop = null;
    },
  };
}

function runBox(agent, go) {
  const fields = fieldSet();
  const input = h("textarea", {
    class: "field",
    rows: 4,
    maxlength: 1000000,
    placeholder: "What is it to do?",
    oninput: () => drafts.set(agent.id, input.value),
  });
  const cost = h("input", {
    class: "field",
    inputmode: "decimal",
    autocomplete: "off",
    placeholder: agent.max_cost_usd === null ? "no limit" : "the agent's own limit",
  });
  const button = h("button", { class: "button primary", disabled: !agent.enabled }, icon("play", 15), "Run");
  input.addEventListener("keydown", (event) => isEnter(event) && (event.ctrlKey || event.metaKey) && submit(event));
  input.value = drafts.get(agent.id) ?? "";

  async function submit(event) {
    event.preventDefault();
    if (button.disabled) return;
    fields.clear();
    if (!input.value.trim()) return fields.mark({ input: "Say what it is to do." });
    button.disabled = true;
    const limit = cost.value.trim().replace(/^\$\s*/, "");
    try {
      const record = await startRun(agent.id, { input: input.value, ...(limit && { max_cost_usd: limit }) });
      drafts.delete(agent.id);
      // Who went elsewhere meanwhile is not called back; the run stands in the list.
      if (el.isConnected) go(`/agents/${agent.id}/runs/${record.id}`);
    } catch (problem) {
      fields.complain(problem);
    } finally {
      button.disabled = !agent.enabled;
    }
  }

  /** The input of an earlier run, to be run again. */
  async function start(runId) {
    if (matchMedia("(hover: hover)").matches) input.focus({ preventScroll: true });
    if (!runId || input.value) return;
    const run = await get(`agents/runs/${runId}`).catch(() => null);
    if (run && !input.value) input.value = run.input;
  }

  const el = h(
    "section",
    { class: "panel", "aria-label": "Run" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", {}, `Run ${agent.name}`),
      h("small", {}, "Once, without a conversation. It goes on when you leave."),
    ),
    h(
      "form",
      { class: "form", novalidate: true, onsubmit: submit },
      fields.add("input", "Input", input),
      h("div", { class: "run-row" }, fields.add("max_cost_usd", "Cost limit", cost, "US dollars, of this run"), button),
      fields.general,
    ),
    !agent.enabled && h("p", { class: "form-error" }, "An administrator switched this agent off."),
  );
  return { el, start };
}

function table(runs, agent) {
  const head = ["Started", "Status", "Input", "Where", "Steps", "Cost", "Time"].map((name, at) =>
    h("th", { scope: "col", class: at > 3 ? "number" : "" }, name),
  );
  const rows = runs.map((run) =>
    h(
      "tr",
      {},
      h("td", { class: "when" }, h("a", { href: `/agents/${agent.id}/runs/${run.id}` }, moment(run.created_at))),
      h("td", {}, statusBadge(run.status)),
      h("td", { class: "said" }, h("span", {}, run.input)),
      h("td", {}, originLabel(run)),
      h("td", { class: "number" }, run.steps_done),
      h("td", { class: "number", title: `Exactly $${run.cost_usd}` }, usd(run.cost_usd)),
      h("td", { class: "number" }, run.ended_at ? duration(Date.parse(run.ended_at) - Date.parse(run.created_at)) : "–"),
    ),
  );
  return h(
    "div",
    { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Runs" },
    h("table", { class: "data runs" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)),
  );
}
