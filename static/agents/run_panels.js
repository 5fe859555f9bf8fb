// @ts-check
// What is shown of a run: its state and figures, the input, the steps, the answer.

import { modelName } from "../shared/catalogue.js";
import { copy } from "../shared/clipboard.js";
import { fill, h, icon } from "../shared/dom.js";
import { count, duration, moment, usd } from "../shared/format.js";
import { describeError } from "../shared/problems.js";
import { stepList } from "../shared/step_list.js";
import { streamedMarkdown } from "../shared/streamed_markdown.js";
import { toolCallViews } from "../shared/tool_calls.js";
import { isOpen, originLabel, statusBadge } from "./labels.js";

const ENDS = {
  length: "The answer reached its length limit.",
  content_filter: "The vendor's filter ended the answer.",
  max_steps: "It had no steps left and answered with what it had.",
  max_cost: "It reached the money that one run may cost.",
  max_seconds: "It reached the time that one run may take.",
};

/** `stream(record)` while its events come in, `show(run)` as the API tells it. */
export function runPanels() {
  const markdown = streamedMarkdown();
  const facts = h("div", {});
  const trouble = h("div", {});
  const input = h("div", { class: "plain" });
  const steps = h("div", {});
  const stored = stepList();
  const waiting = h("div", { class: "waiting", "aria-label": "The agent is working" }, h("i"), h("i"), h("i"));
  const copyButton = h(
    "button",
    { type: "button", class: "button small", onclick: () => copy(text, copyButton) },
    icon("copy", 14),
    "Copy",
  );
  const answer = h(
    "section",
    { class: "panel answer", "aria-label": "Answer" },
    h("div", { class: "panel-head" }, h("h2", {}, "Answer"), copyButton),
    markdown.el,
    waiting,
  );
  const work = h("section", { class: "panel", "aria-label": "Steps" }, h("div", { class: "panel-head" }, h("h2", {}, "Steps")), steps);
  const el = h(
    "div",
    { class: "stack" },
    facts,
    trouble,
    h("section", { class: "panel", "aria-label": "Input" }, h("div", { class: "panel-head" }, h("h2", {}, "Input")), input),
    work,
    answer,
  );
  let text = "";
  let shape = "";

  const say = (next, done) => {
    text = next;
    markdown.show(next, done);
    copyButton.hidden = !done || !next;
    waiting.hidden = done;
  };
  const head = (run, cancel) => {
    const stop = h("button", { type: "button", class: "button small", onclick: () => cancel(stop) }, icon("stop", 14), "Cancel");
    const again =
      run.agent_id &&
      h("a", { class: "button small", href: `/agents/${run.agent_id}/runs?again=${run.id}` }, icon("retry", 14), "Run again");
    return h(
      "div",
      { class: "run-head" },
      statusBadge(run.status),
      h(
        "span",
        { class: "hint" },
        [moment(run.created_at), run.version && `version ${run.version}`, modelName(run.model)].filter(Boolean).join(" · "),
      ),
      isOpen(run) ? stop : again,
    );
  };

  return {
    el,
    stream(record, cancel) {
      const next = `${record.model} ${record.steps.length}`;
      if (next !== shape) {
        const started = facts.dataset.started ?? (facts.dataset.started = new Date().toISOString());
        fill(facts, head({ status: "running", created_at: started, model: record.model }, cancel));
        fill(steps, record.steps.length ? toolCallViews(record.steps, true) : h("p", { class: "hint" }, "No tool was called yet."));
        input.textContent = record.input;
      }
      shape = next;
      say(record.text, false);
    },
    show(run, cancel) {
      const open = isOpen(run);
      const next = JSON.stringify(run);
      if (next === shape) return;
      shape = next;
      fill(facts, head(run, cancel), figures(run));
      fill(trouble, troubleOf(run));
      input.textContent = run.input;
      if (steps.firstChild !== stored.el) fill(steps, stored.el);
      stored.show(run, open);
      work.hidden = !run.steps.length;
      answer.hidden = !run.output && run.status !== "running";
      say(run.output, !open);
      waiting.hidden = run.status !== "running";
    },
  };
}

function figures(run) {
  const card = (name, value, small, title) =>
    h("div", { class: "card", title }, h("h3", {}, name), h("div", { class: "big" }, value), small && h("small", {}, small));
  const took = run.ended_at ? duration(Date.parse(run.ended_at) - Date.parse(run.created_at)) : "–";
  return h(
    "div",
    { class: "cards" },
    card("Cost", usd(run.cost_usd), run.simulated && "simulated", `Exactly $${run.cost_usd}`),
    card("Steps", run.steps_done, "model calls"),
    card("Tokens", count(run.usage.output_tokens), `out, ${count(run.usage.input_tokens)} in`),
    card("Time", took, ["asked for: ", originLabel(run)]),
  );
}

function troubleOf(run) {
  if (run.waits_for.length)
    return h(
      "div",
      { class: "note-box warn", role: "status" },
      icon("alert", 17),
      h("p", {}, "It asks before it uses a tool: allow or deny it under Steps. It waits seven days at most."),
    );
  if (run.error) {
    const { title, text, hint, requestId } = describeError(run.error);
    return h(
      "div",
      { class: "note-box bad", role: "alert" },
      icon("alert", 17),
      h(
        "div",
        {},
        h("strong", {}, title),
        h("p", {}, `${text} ${hint}`),
        requestId && h("p", { class: "request-id" }, `Request ${requestId}`),
      ),
    );
  }
  const ends =
    run.status === "succeeded"
      ? (ENDS[run.finish_reason] ?? (run.output.trim() ? null : "The model returned an empty answer."))
      : run.status === "cancelled"
        ? "It was cancelled; what was said is kept."
        : run.status === "interrupted"
          ? "Its process ended; what was said is kept."
          : null;
  return ends ? h("div", { class: "note-box", role: "status" }, ends) : null;
}
