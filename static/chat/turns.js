// @ts-check
// Answers that are being written: events of the stream become the fields of a message record.

import { post } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";
import { keptParts } from "../shared/rewind.js";
import { messageOf } from "./messages.js";
import { connect, request, transmit } from "./socket.js";

const live = new Map(); // message id -> message record

export const running = (message) => message.status === "pending" || message.status === "streaming";
export const liveIn = (conversationId) => [...live.values()].some((message) => message.conversation_id === conversationId);

/** Sends a question; resolves with the ack once it is stored. `answer` is filled from then on. */
export async function send(question, answer) {
  const ack = await request({ type: "send", ref: crypto.getRandomValues(new Uint32Array(3)).join("-"), ...question });
  answer.id = ack.message_id;
  answer.conversation_id = ack.conversation_id;
  watch(answer);
  for (const frame of early.get(answer.id) ?? []) apply(frame);
  early.delete(answer.id);
  return ack;
}

// Events that overtook the ack: kept until their answer is known.
const early = new Map();

function watch(message) {
  message.seq ??= -1;
  live.set(message.id, message);
  emit("live", message.conversation_id);
}

/** Follows an answer that is still being written, from what this page has seen of it. */
export function follow(message) {
  if (live.get(message.id) === message) return;
  message.seq = -1;
  message.replay = true; // the log is replayed from its start, over the partial text that is shown
  watch(message);
  connect();
  resume(message);
}

const resume = (message) => transmit({ type: "resume", message_id: message.id, after: message.seq });

on("socket-open", () => {
  for (const message of live.values()) resume(message);
});

/** Stops the writing; what is there stays. */
export const cancel = (message) =>
  transmit({ type: "cancel", message_id: message.id }) ||
  post(`chat/messages/${message.id}/cancel`).catch((problem) => emit("problem", problem));

on("frame", (frame) => {
  if (frame.message_id && !live.has(frame.message_id) && !ended.has(frame.message_id) && early.size < 50)
    early.set(frame.message_id, [...(early.get(frame.message_id) ?? []), frame]);
  apply(frame);
});

const ended = new Set();

function apply(frame) {
  const message = live.get(frame.message_id);
  if (!message) return;
  if (frame.seq === undefined && frame.type === "error") return refused(message, frame);
  if (frame.seq !== undefined) {
    // A rewind goes back, and an end is sent again to a page that has seen it.
    if (frame.seq <= message.seq && !["message.rewind", "message.end", "error"].includes(frame.type)) return;
    message.seq = frame.seq;
  }
  if (message.replay) {
    message.replay = false;
    Object.assign(message, { content: "", reasoning: "", steps: [], fallbacks: [] });
  }
  APPLY[frame.type]?.(message, frame);
  emit("message", message);
}

/** The server would not show the answer now (not an event of the answer itself). */
function refused(message, frame) {
  const wait = frame.retry_after ?? 2;
  if (RETRYABLE.has(frame.error.type)) return void setTimeout(() => live.get(message.id) === message && resume(message), wait * 1000);
  close(message);
}

const RETRYABLE = new Set(["rate_limited", "unavailable", "internal_error"]);

const APPLY = {
  "message.start": (message, data) =>
    Object.assign(message, { status: "streaming", model: data.model, provider: data.provider, route: data.route }),
  "message.rewind": (message, data) => {
    const { text, reasoning, steps } = keptParts({ ...message, text: message.content }, data);
    Object.assign(message, { content: text, reasoning, steps });
  },
  "route.fallback": (message, data) => message.fallbacks.push({ from: data.from, to: data.to, reason: data.reason }),
  "content.delta": (message, data) => {
    message.status = "streaming";
    message.content += data.text;
  },
  "reasoning.delta": (message, data) => {
    message.status = "streaming";
    message.reasoning += data.text;
  },
  "tool.call": (message, data) =>
    message.steps.push({ type: "tool.call", ...pick(data, ["call_id", "name", "arguments", "needs_approval", "run_id"]) }),
  "tool.result": (message, data) =>
    message.steps.push({ type: "tool.result", ...pick(data, ["call_id", "name", "status", "output", "latency_ms"]) }),
  "message.end": (message, data) => {
    const { seq, fallbacks, siblings, id } = message;
    const { type: _, message_id: __, ...stored } = data;
    Object.assign(message, messageOf(stored), { id, seq });
    if (!message.fallbacks.length) message.fallbacks = fallbacks;
    if (message.siblings.length < siblings.length) message.siblings = siblings;
    close(message);
  },
  error: (message, data) => {
    message.error = data.error;
    if (running(message)) message.status = "failed";
    close(message);
  },
};

const pick = (data, names) => Object.fromEntries(names.filter((name) => name in data).map((name) => [name, data[name]]));

function close(message) {
  live.delete(message.id);
  ended.add(message.id);
  emit("turn-ended", message);
  emit("live", message.conversation_id);
}

on("signed-out", () => {
  live.clear();
  early.clear();
  ended.clear();
});
