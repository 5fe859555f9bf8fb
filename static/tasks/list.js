// @ts-check
// The tasks of a person, searched and narrowed; all choices stand in the address.

import { get } from "../shared/api.js";
import { debounce, fill, h, icon } from "../shared/dom.js";
import { moment, usd } from "../shared/format.js";
import { pagedList } from "../shared/paged_list.js";
import { showWaitingRuns } from "../shared/waiting_runs.js";
import { taskButtons } from "./actions.js";
import { isOpen, scheduleLabel, STATUS, statusBadge } from "./labels.js";

const LOOK_EVERY = 4000;

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
    clearTimeout(timer);
    if (tasks.some((one) => isOpen(one.last_run))) timer = setTimeout(again, LOOK_EVERY);
    return tasks.length ? h("div", { class: "stack" }, tasks.map(row)) : empty();
  });
  let timer = 0;
  let chosen = { search: "", status: "" };
  search.addEventListener(
    "input",
    debounce(() => move(), 300),
  );

  function move() {
    const query = new URLSearchParams(Object.entries({ search: search.value.trim(), status: status.value }).filter(([, value]) => value));
    go(`/tasks${query.size ? `?${query}` : ""}`);
  }

  /** Tasks whose runs go on are looked at again; what stands on further pages stays. */
  async function again() {
    const open = list
      .items()
      .filter((one) => isOpen(one.last_run))
      .slice(0, 20);
    const fresh = await Promise.all(open.map((one) => get(`tasks/${one.id}`).catch(() => one)));
    if (!el.isConnected) return;
    for (const one of fresh) Object.assign(list.items().find((old) => old.id === one.id) ?? {}, one);
    if (!el.contains(document.activeElement) || document.activeElement === search) list.redraw();
    else timer = setTimeout(again, LOOK_EVERY);
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
      return load();
    },
    leave: () => (clearTimeout(timer), fill(waiting)),
  };
}
