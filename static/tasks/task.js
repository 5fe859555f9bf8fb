// @ts-check
// One task: what it asks, when, and its runs.

import { get } from "../shared/api.js";
import { on } from "../shared/bus.js";
import { modelName } from "../shared/catalogue.js";
import { fill, h } from "../shared/dom.js";
import { duration, moment, usd } from "../shared/format.js";
import { concerns } from "../shared/news_subjects.js";
import { pagedList } from "../shared/paged_list.js";
import { section } from "../shared/section.js";
import { taskButtons } from "./actions.js";
import { scheduleLabel, statusBadge } from "./labels.js";

export function taskView({ go, title }) {
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Where you are" });
  const about = h("div", { class: "stack" });
  const runs = pagedList((items) => (items.length ? table(items, id) : h("p", { class: "empty" }, "It has not run yet.")));
  const el = h(
    "div",
    { class: "stack" },
    crumbs,
    about,
    h("section", { class: "panel", "aria-label": "Runs" }, h("div", { class: "panel-head" }, h("h2", {}, "Runs")), runs.el),
  );
  const load = section(about, draw);
  let id = null;
  let seen = "";
  let stop = null;
  let late = null;

  function draw(task) {
    late = null;
    title(task.name);
    fill(crumbs, h("a", { href: "/tasks" }, "Tasks"), " / ", task.name);
    const changed = (next) => {
      if (task.id !== id) return; // the person has gone on meanwhile
      if (!next) return go("/tasks");
      draw(next);
      loadRuns();
    };
    const shape = JSON.stringify(task.last_run);
    if (seen && seen !== shape) loadRuns();
    seen = shape;
    fill(about, head(task, taskButtons(task, changed)), facts(task));
  }

  const loadRuns = () => runs.load(`tasks/${id}/runs`, { page_size: 20 });
  async function look(ids) {
    if (!concerns(ids, id)) return;
    const mine = id;
    const task = await get(`tasks/${mine}`).catch(() => null);
    if (mine !== id || !task) return;
    if (about.contains(document.activeElement)) late = task;
    else draw(task);
  }
  // A button that has the focus is not taken away: what changed is drawn when the focus leaves.
  about.addEventListener("focusout", () => setTimeout(() => late?.id === id && draw(late)));

  return {
    el,
    show([wanted]) {
      if (wanted !== id) fill(about);
      [id, seen, late] = [wanted, "", null];
      stop ??= on("news-tasks", look);
      title("Task");
      return Promise.all([load(() => get(`tasks/${id}`)), loadRuns()]);
    },
    leave() {
      stop?.();
      [id, stop, late] = [null, null, null];
    },
  };
}

const head = (task, buttons) =>
  h(
    "div",
    { class: "agent-title" },
    h("div", {}, h("h2", {}, task.name, " ", statusBadge(task.status)), task.description && h("p", { class: "about" }, task.description)),
    h("div", { class: "chips" }, buttons),
  );

function facts(task) {
  const answers = task.agent_id
    ? h("a", { href: `/agents/${task.agent_id}` }, "an agent")
    : task.model.startsWith("auto")
      ? `automatic choice${task.goal ? ` (${task.goal})` : ""}`
      : modelName(task.model);
  const pairs = [
    ["Runs", scheduleLabel(task.schedule)],
    ["Next", task.paused ? "paused" : task.next_run_at ? moment(task.next_run_at) : "–"],
    ["Answered by", answers],
    [
      "Limits",
      [
        task.max_cost_usd !== null && `${usd(task.max_cost_usd)} a run`,
        task.monthly_budget_usd !== null && `${usd(task.monthly_budget_usd)} a month`,
        `${task.max_seconds} s a try`,
        `${task.max_retries} retries`,
      ]
        .filter(Boolean)
        .join(", "),
    ],
    task.webhook_url && ["Webhook", task.webhook_url],
  ].filter(Boolean);
  return h(
    "section",
    { class: "panel", "aria-label": "What it asks" },
    h("pre", { class: "prompt", tabIndex: 0 }, task.input),
    h(
      "dl",
      { class: "pairs" },
      pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
  );
}

function table(items, id) {
  const titles = ["Run", "Status", "Begun by", "Started", "Time", "Tries", "Cost"].map((name, at) =>
    h("th", { scope: "col", class: at > 3 ? "number" : "" }, name),
  );
  const rows = items.map((run) =>
    h(
      "tr",
      {},
      h("td", {}, h("a", { href: `/tasks/${id}/runs/${run.id}` }, `Run ${run.number}`)),
      h("td", {}, statusBadge(run.status)),
      h("td", {}, run.trigger),
      h("td", { class: "when" }, moment(run.started_at ?? run.scheduled_for ?? run.created_at)),
      h("td", { class: "number" }, run.started_at && run.ended_at ? duration(Date.parse(run.ended_at) - Date.parse(run.started_at)) : "–"),
      h("td", { class: "number" }, run.attempt),
      h("td", { class: "number", title: `Exactly $${run.cost_usd}` }, usd(run.cost_usd)),
    ),
  );
  return h(
    "div",
    { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Runs" },
    h("table", { class: "data" }, h("thead", {}, h("tr", {}, titles)), h("tbody", {}, rows)),
  );
}
