// @ts-check
// One run: while it goes on from its stream or by the news of its steps, afterwards as it is stored.

import { post } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";
import { fill, h } from "../shared/dom.js";
import { concerns } from "../shared/news_subjects.js";
import { getRun } from "../shared/run_detail.js";
import { section } from "../shared/section.js";
import { runPanels } from "./run_panels.js";
import { liveRun } from "./streamed_runs.js";

export function runView({ title }) {
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Where you are" });
  const state = h("div", { class: "stack" });
  const el = h("div", { class: "stack run-page" }, crumbs, state);
  let id = null;
  let view = null;
  const load = section(state, (run) => draw(run));
  const stops = [];

  const trail = (agentId, name) =>
    fill(
      crumbs,
      h("a", { href: "/agents" }, "Agents"),
      " / ",
      agentId && [h("a", { href: `/agents/${agentId}/runs` }, name), " / "],
      "Run",
    );

  function draw(run) {
    title(run.agent ? `Run of ${run.agent}` : "Run");
    trail(run.agent_id, run.agent);
    view ??= runPanels();
    if (state.firstChild !== view.el) fill(state, view.el);
    view.show(run, cancel);
  }

  async function look() {
    const mine = id;
    try {
      const run = await getRun(`agents/runs/${mine}`);
      if (mine === id && !liveRun(mine)) draw(run);
    } catch (problem) {
      // After any other problem the next news, or the look once a minute, reads it.
      if (mine === id && problem.status === 404) load(() => Promise.reject(problem));
    }
  }

  async function cancel(button) {
    button.disabled = true;
    try {
      const run = await post(`agents/runs/${id}/cancel`);
      if (!liveRun(run.id)) draw(run);
    } catch (problem) {
      button.disabled = false;
      emit("problem", problem);
    }
  }

  function follow(record) {
    if (record.id !== id) return;
    if (record.run) draw(record.run);
    else if (record.done) look();
    else {
      view ??= runPanels();
      if (state.firstChild !== view.el) fill(state, view.el);
      view.stream(record, cancel);
    }
  }

  return {
    el,
    show([agentId, runId]) {
      if (id === runId && view) return;
      trail(agentId, "Runs");
      [id, view] = [runId, null];
      fill(state);
      title("Run");
      if (!stops.length)
        stops.push(
          on("run", follow),
          on("decided", (decided) => decided === id && look()),
          on("news-runs", (ids) => concerns(ids, id) && !liveRun(id) && look()),
        );
      const record = liveRun(runId);
      if (record) follow(record);
      else return load(() => getRun(`agents/runs/${runId}`));
    },
    leave() {
      liveRun(id)?.stop();
      stops.splice(0).forEach((stop) => stop());
      [id, view] = [null, null];
    },
  };
}
