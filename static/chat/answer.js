// @ts-check
// A model's message: its text as it grows, how it came about, what it cost, what may be done with it.

import { simulatedBadge } from "../shared/badges.js";
import { on } from "../shared/bus.js";
import { modelName } from "../shared/catalogue.js";
import { add, fill, h, icon } from "../shared/dom.js";
import { fold } from "../shared/fold.js";
import { knownAgent } from "../shared/known_agents.js";
import { describeError } from "../shared/problems.js";
import { streamedMarkdown } from "../shared/streamed_markdown.js";
import { toolCallViews } from "../shared/tool_calls.js";
import { answerTools, metaLine } from "./answer_foot.js";
import { regenerate } from "./threads.js";
import { running } from "./turns.js";

export function answerView(message, options) {
  const markdown = streamedMarkdown();
  const head = h("header", { class: "answer-head" });
  const before = h("div", { class: "before" });
  const waiting = h("div", { class: "waiting", "aria-label": "The model is working" }, h("i"), h("i"), h("i"));
  const trouble = h("div", { class: "trouble" });
  const foot = h("footer", { class: "answer-foot" });
  const el = h("article", { class: "message answer", data: { id: message.id } }, head, before, markdown.el, waiting, trouble, foot);
  const thinking = reasoning();
  const toolBox = h("div", { class: "tool-box" });
  let steps = "";
  let shape = "";

  function update() {
    const busy = running(message);
    el.dataset.id = message.id;
    el.dataset.status = message.status;
    el.setAttribute("aria-busy", String(busy));
    markdown.show(message.content, !busy);
    waiting.hidden = !busy || Boolean(message.content);
    thinking.update(message, busy);
    if (`${message.steps.length} ${busy}` !== steps) {
      steps = `${message.steps.length} ${busy}`;
      fill(toolBox, toolCallViews(message.steps, busy));
    }
    // All but the growing text changes rarely: drawn only when it does.
    const next = JSON.stringify([
      message.id,
      message.status,
      message.model,
      message.agent?.name,
      message.fallbacks.length,
      message.feedback,
      message.feedback_comment,
      message.siblings,
      message.cost_usd,
      message.error?.code,
      options.last(message),
    ]);
    if (next !== shape) drawFrame(busy);
    shape = next;
  }

  function drawFrame(busy) {
    const agent = message.agent?.name ?? knownAgent(message.agent_id)?.name;
    const name = agent ?? modelName(message.model);
    el.setAttribute("aria-label", name ? `Answer of ${name}` : "Answer");
    fill(
      head,
      h("span", { class: "avatar" }, icon(agent ? "robot" : "spark", 15)),
      h("span", { class: "model-name" }, name || "Choosing a model"),
      agent && h("small", {}, modelName(message.model)),
      message.simulated && simulatedBadge(),
      statusBadge(message),
    );
    fill(before, message.fallbacks.map(fallbackNotice), thinking.el, toolBox);
    fill(trouble, busy ? null : troubleOf(message));
    fill(foot, busy ? null : [metaLine(message), answerTools(message)]);
  }

  const stop = on("message", (changed) => changed === message && update());
  update();
  return { el, update, end: stop };
}

const STATUS = { cancelled: "stopped", failed: "failed", interrupted: "interrupted" };
const statusBadge = (message) => STATUS[message.status] && h("span", { class: `badge ${message.status}` }, STATUS[message.status]);

function fallbackNotice({ from, to, reason }) {
  const why = reason ? ` (${String(reason).replaceAll("_", " ")})` : "";
  return h(
    "p",
    { class: "fallback" },
    icon("route", 14),
    `${modelName(from)} did not answer${why}; ${to ? `${modelName(to)} took over.` : "another model took over."}`,
  );
}

function reasoning() {
  const body = h("div", { class: "plain" });
  const el = fold("reasoning", "thought", "Reasoning", body);
  const title = el.querySelector(".fold-title");
  el.hidden = true;
  return {
    el,
    update(message, busy) {
      el.hidden = !message.reasoning;
      if (body.textContent.length !== message.reasoning.length) body.textContent = message.reasoning;
      title.textContent = busy && !message.content ? "Thinking" : "Reasoning";
      el.classList.toggle("active", busy && !message.content);
    },
  };
}

/** Why an answer is not whole, and the button that goes on. */
function troubleOf(message) {
  const retry = h("button", { type: "button", class: "button small", onclick: () => regenerate(message) }, icon("retry", 14), "Retry");
  const goOn = h(
    "button",
    { type: "button", class: "button small", onclick: () => regenerate(message, { continue: true }) },
    icon("right", 14),
    "Continue",
  );
  const buttons = [message.content && goOn, retry];
  if (message.error && (message.status === "failed" || message.status === "interrupted")) {
    const { title, text, hint, requestId } = describeError(message.error);
    const heading = message.content && message.error?.type === "provider_error" ? "The answer broke off" : title;
    return h(
      "div",
      { class: "problem", role: "alert" },
      icon("alert"),
      h(
        "div",
        {},
        h("strong", {}, heading),
        h("p", {}, `${text} ${hint}`),
        requestId && h("p", { class: "request-id" }, `Request ${requestId}`),
        h("div", { class: "row" }, buttons),
      ),
    );
  }
  const note = { cancelled: "You stopped this answer.", interrupted: "The answer was interrupted; what was written is kept." }[
    message.status
  ];
  const cut = message.status === "complete" && message.finish_reason === "length" && "The answer reached its length limit.";
  const limit = message.status === "complete" && LIMITS[message.finish_reason];
  const empty = message.status === "complete" && !message.content.trim() && "The model returned an empty answer.";
  const filtered = message.status === "complete" && message.finish_reason === "content_filter" && "The vendor's filter ended this answer.";
  const said = note || cut || filtered || limit || empty;
  if (!said) return null;
  return add(h("div", { class: "note" }), [h("span", {}, said), ...buttons]);
}

const LIMITS = {
  max_steps: "The agent had no steps left and answered with what it had.",
  max_cost: "The agent reached the money that one run may cost.",
  max_seconds: "The agent reached the time that one run may take.",
};
