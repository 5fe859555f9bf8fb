// @ts-check
// The tasks of a person, searched and narrowed; all choices stand in the address.

import { get } from "../shared/api.js";
import { on } from "../shared/bus.js";
import { debounce, fill, h, icon } from "../shared/dom.js";
import { moment, usd } from "../shared/format.js";
import { pagedList } from "../shared/paged_list.js";
import { showWaitingRuns } from "../shared/waiting_runs.js";
import { taskButtons } from "./actions.js";
import { scheduleLabel, STATUS, statusBadge } from "./labels.js";

// With more changed tasks than this the list is read instead of each of them.
const MOST_SINGLE = 5;

export function listView({ go, title }) {
  const search = h("input", { type: "search", class: "field", placeholder: "Search tasks", "aria-label": "Search tasks" });
  const status = h(
    "select",
    { class: "field", "aria-label": "Status", onchange: () => move() },
    h("option", { value: "" }, "All"),
    Object.entries(STATUS).map(([value, [text]]) => h("option", { value }, text)),
  );
  const waiting = h("div", {});
  const list = pagedList((tasks) => {
    return tasks.length ? h("div", { class: "stack" }, tasks.map(row)) : empty();
  });
  let stop = null;
  let chosen = { search: "", status: "" };
  search.addEventListener(
    "input",
    debounce(() => move(), 300),
  );

  function move() {
    const query = new URLSearchParams(Object.entries({ search: search.value.trim(), status: status.value }).filter(([, value]) => value));
    go(`/tasks${query.size ? `?${query}` : ""}`);
  }

  /** Reads the tasks that changed; the list where one is new or gone, or where many changed. */
  async function again(ids) {
    const shown = list.items().filter((one) => ids.has(one.id));
    if (!ids.size || ids.size > MOST_SINGLE || shown.length < ids.size) return list.again();
    const fresh = await Promise.all(shown.map((one) => get(`tasks/${one.id}`).catch((problem) => (problem.status === 404 ? null : one))));
    if (!el.isConnected) return;
    if (fresh.includes(null)) return list.again();
    for (const one of fresh) Object.assign(list.items().find((old) => old.id === one.id) ?? {}, one);
    list.redraw();
  }

  const load = () => list.load("tasks/", { ...chosen, page_size: 30 });
  const row = (task) =>
    h(
      "article",
      { class: "card task-card", "aria-label": task.name },
      h("header", {}, h("h2", {}, h("a", { href: `/tasks/${task.id}` }, task.name)), statusBadge(task.status)),
      h("p", { class: "about" }, task.description || task.input),
      h(
        "p",
        { class: "facts" },
        icon("clock", 14),
        scheduleLabel(task.schedule),
        task.next_run_at && ` · next ${moment(task.next_run_at)}`,
      ),
      task.last_run &&
        h(
          "p",
          { class: "facts" },
          icon("retry", 14),
          h("a", { href: `/tasks/${task.id}/runs/${task.last_run.id}` }, `Run ${task.last_run.number}`),
          statusBadge(task.last_run.status),
          [usd(task.last_run.cost_usd), task.last_run.ended_at && moment(task.last_run.ended_at)].filter(Boolean).join(" · "),
        ),
      h("footer", {}, taskButtons(task, load)),
    );
  const empty = () =>
    chosen.search || chosen.status
      ? h("p", { class: "empty" }, "No task is like that.")
      : h(
          "div",
          { class: "empty" },
          icon("clock", 30),
          h("p", {}, "A task asks a model or an agent by itself: at a time, every hour, or by a cron line."),
          h("a", { class: "button primary", href: "/tasks/new" }, "New task"),
        );

  const head = h(
    "div",
    { class: "agents-head" },
    h("div", { class: "search-field" }, icon("search", 15), search),
    status,
    h("a", { class: "button primary", href: "/tasks/new" }, icon("plus", 16), "New task"),
  );
  const el = h("div", { class: "stack" }, head, waiting, list.el);
  return {
    el,
    show(_, query) {
      title("Tasks");
      const wanted = query.get("status") ?? "";
      chosen = { search: query.get("search") ?? "", status: Object.hasOwn(STATUS, wanted) ? wanted : "" };
      if (document.activeElement !== search) search.value = chosen.search;
      status.value = chosen.status;
      showWaitingRuns(waiting);
      stop ??= on("news-tasks", again);
      return load();
    },
    leave() {
      stop?.();
      stop = null;
      fill(waiting);
    },
  };
}
