// @ts-check
// The line below an answer: cost, tokens, time, why this model; and its buttons.

import { emit } from "../shared/bus.js";
import { copy } from "../shared/clipboard.js";
import { h, icon, iconButton } from "../shared/dom.js";
import { count, duration, moment, usd } from "../shared/format.js";
import { askText } from "../shared/overlay.js";
import { branchSwitch } from "./message_parts.js";
import { showRoute } from "./route_dialog.js";
import { rate, regenerate } from "./threads.js";

export function metaLine(message) {
  const { usage } = message;
  const entries = [
    message.cost_usd !== undefined && h("span", { class: "cost", title: `Exactly $${message.cost_usd}` }, usd(message.cost_usd)),
    usage && h("span", { title: tokensTitle(usage) }, `${count(usage.input_tokens)} in · ${count(usage.output_tokens)} out`),
    message.latency_ms ? h("span", { title: timeTitle(message) }, duration(message.latency_ms)) : null,
    hasRoute(message.route) &&
      h("button", { type: "button", class: "why", onclick: () => showRoute(message) }, icon("route", 14), "Why this model"),
  ];
  return h("div", { class: "meta" }, entries);
}

// Where no model ever answered there is no choice to explain.
const hasRoute = (route) => Boolean(route.candidates);

function tokensTitle(usage) {
  const extra = [
    usage.cached_input_tokens ? `${count(usage.cached_input_tokens)} of the input from the cache` : "",
    usage.reasoning_tokens ? `${count(usage.reasoning_tokens)} of the output for reasoning` : "",
  ].filter(Boolean);
  return [`${usage.input_tokens} tokens in, ${usage.output_tokens} out`, ...extra].join("; ");
}

function timeTitle(message) {
  const first = message.ttft_ms === null ? "" : `, first words after ${duration(message.ttft_ms)}`;
  return `${duration(message.latency_ms)} in all${first}${message.created_at ? `; ${moment(message.created_at)}` : ""}`;
}

export function answerTools(message) {
  const copyButton = iconButton("copy", "Copy the answer", () => copy(message.content, copyButton), { size: 15 });
  return h(
    "div",
    { class: "tools" },
    branchSwitch(message),
    copyButton,
    iconButton("retry", "Regenerate", () => regenerate(message), { size: 15 }),
    !message.local && [thumb(message, "up"), thumb(message, "down"), message.feedback && commentButton(message)],
  );
}

function thumb(message, rating) {
  const label = rating === "up" ? "Good answer" : "Bad answer";
  const button = iconButton(rating, label, press, { size: 15, class: message.feedback === rating ? "chosen" : "" });
  button.setAttribute("aria-pressed", String(message.feedback === rating));
  return button;

  function press() {
    rate(message, message.feedback === rating ? null : rating).catch((problem) => emit("problem", problem));
  }
}

function commentButton(message) {
  const label = message.feedback_comment ? "Change your comment" : "Add a comment";
  return h("button", { type: "button", class: "why", onclick: comment }, label);

  async function comment() {
    const text = await askText(message.feedback === "up" ? "What was good?" : "What was wrong?", "Your comment", message.feedback_comment, {
      area: true,
      required: false,
    });
    if (text !== undefined) rate(message, message.feedback, text).catch((problem) => emit("problem", problem));
  }
}
