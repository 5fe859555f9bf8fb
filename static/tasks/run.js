// @ts-check
// One run: live while it goes on, afterwards with its attempts and steps.

import { post } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";
import { modelName } from "../shared/catalogue.js";
import { fill, h, icon } from "../shared/dom.js";
import { count, duration, moment, usd } from "../shared/format.js";
import { describeError } from "../shared/problems.js";
import { getRun } from "../shared/run_detail.js";
import { section } from "../shared/section.js";
import { stepList } from "../shared/step_list.js";
import { streamedMarkdown } from "../shared/streamed_markdown.js";
import { follow } from "./follow.js";
import { isOpen, statusBadge } from "./labels.js";

export function runView({ title }) {
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Where you are" });
  const facts = h("div", { class: "stack" });
  const answer = streamedMarkdown();
  const attempts = h("div", { class: "stack" });
  const said = h(
    "section",
    { class: "panel answer", "aria-label": "Answer" },
    h("div", { class: "panel-head" }, h("h2", {}, "Answer")),
    answer.el,
  );
  const el = h("div", { class: "stack run-page" }, crumbs, facts, said, attempts);
  const load = section(facts, draw);
  let at = []; // [task, run]
  let stop = null;
  const stops = [];

  function draw(run) {
    title(`Run ${run.number}`);
    const open = isOpen(run);
    fill(
      facts,
      head(run),
      figures(run),
      trouble(run),
      h(
        "section",
        { class: "panel", "aria-label": "Input" },
        h("div", { class: "panel-head" }, h("h2", {}, "Input")),
        h("div", { class: "plain" }, run.input),
      ),
    );
    if (!open || !stop) answer.show(run.output, !open);
    said.hidden = !open && !run.output;
    fill(
      attempts,
      run.attempts.map((one) => attemptPanel(one, run, open)),
      run.webhook && hook(run.webhook),
    );
    if (open && !stop) stop = follow(...at, { text: (text) => answer.show(text, false), changed: look });
  }

  async function look() {
    const mine = at;
    const run = await getRun(`tasks/${at[0]}/runs/${at[1]}`).catch(() => null);
    if (mine !== at || !run) return;
    if (!isOpen(run)) end();
    draw(run);
    emit("task-seen");
  }

  function head(run) {
    const cancel = async (event) => {
      event.currentTarget.disabled = true;
      await post(`tasks/${run.task_id}/cancel`, {}).catch((problem) => emit("problem", problem));
      look();
    };
    return h(
      "div",
      { class: "run-head" },
      statusBadge(run.status),
      h(
        "span",
        { class: "hint" },
        [moment(run.started_at ?? run.created_at), modelName(run.model), run.trigger].filter(Boolean).join(" · "),
      ),
      isOpen(run) && h("button", { type: "button", class: "button small", onclick: cancel }, icon("stop", 14), "Cancel"),
    );
  }

  function end() {
    stop?.();
    stop = null;
  }

  return {
    el,
    show([task, run]) {
      end();
      at = [task, run];
      title("Run");
      fill(crumbs, h("a", { href: "/tasks" }, "Tasks"), " / ", h("a", { href: `/tasks/${task}` }, "Task"), " / Run");
      fill(facts);
      fill(attempts);
      answer.show("", false);
      said.hidden = true;
      if (!stops.length) stops.push(on("decided", () => setTimeout(look, 600)));
      return load(() => getRun(`tasks/${task}/runs/${run}`));
    },
    leave() {
      end();
      at = [];
      stops.splice(0).forEach((one) => one());
    },
  };
}

function figures(run) {
  const card = (name, value, small, exact) =>
    h("div", { class: "card", title: exact }, h("h3", {}, name), h("div", { class: "big" }, value), small && h("small", {}, small));
  const took = run.started_at && run.ended_at ? duration(Date.parse(run.ended_at) - Date.parse(run.started_at)) : "–";
  return h(
    "div",
    { class: "cards" },
    card("Cost", usd(run.cost_usd), run.simulated && "simulated", `Exactly $${run.cost_usd}`),
    card("Tries", run.attempt),
    card("Tokens", count(run.usage.output_tokens), `out, ${count(run.usage.input_tokens)} in`),
    card("Time", took),
  );
}

function trouble(run) {
  if (run.next_attempt_at)
    return h(
      "div",
      { class: "note-box warn", role: "status" },
      icon("clock", 17),
      h("p", {}, `It is tried again ${moment(run.next_attempt_at)}. ${run.error?.message ?? ""}`),
    );
  if (run.status === "waiting_approval")
    return h(
      "div",
      { class: "note-box warn", role: "status" },
      icon("alert", 17),
      h("p", {}, "It asks before it uses a tool: allow or deny it below."),
    );
  if (run.status === "succeeded" && !run.output.trim())
    return h("div", { class: "note-box", role: "status" }, "The model returned an empty answer.");
  if (!run.error) return null;
  const { title, text, hint } = describeError(run.error);
  return h(
    "div",
    { class: "note-box bad", role: "alert" },
    icon("alert", 17),
    h("div", {}, h("strong", {}, title), h("p", {}, `${text} ${hint}`)),
  );
}

function attemptPanel(one, run, open) {
  const steps = stepList();
  steps.show({ id: one.agent_run_id, steps: one.steps }, open && one.number === run.attempt);
  const name = run.attempts.length > 1 ? `Try ${one.number}` : "Steps";
  return h(
    "section",
    { class: "panel", "aria-label": name },
    h("div", { class: "panel-head" }, h("h2", {}, name), statusBadge(one.status), h("small", {}, usd(one.cost_usd))),
    one.error && h("p", { class: "hint" }, one.error.message),
    one.steps.length ? steps.el : h("p", { class: "hint" }, "No step yet."),
  );
}

function hook(delivery) {
  const facts = [
    delivery.state,
    delivery.response_status && `status ${delivery.response_status}`,
    `${delivery.attempts} ${delivery.attempts === 1 ? "try" : "tries"}`,
    delivery.next_attempt_at && `again ${moment(delivery.next_attempt_at)}`,
    delivery.error,
  ].filter(Boolean);
  return h(
    "section",
    { class: "panel", "aria-label": "Webhook" },
    h("div", { class: "panel-head" }, h("h2", {}, "Webhook")),
    h("p", {}, facts.join(" · ")),
  );
}
