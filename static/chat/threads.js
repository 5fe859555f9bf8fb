// @ts-check
// The conversation that is open: its messages, and what a person may do in it.

import { getAll, post } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";
import { branch, startTurn } from "./branches.js";
import { change, fetchOne, find, remember, touch } from "./conversations.js";
import { contentOf, localMessage, messageOf } from "./messages.js";
import { follow, running, send } from "./turns.js";

const threads = new Map(); // conversation id -> thread
export let current = blank();

function blank() {
  return { id: null, conversation: { title: "", settings: {} }, messages: [], loading: false, problem: null };
}

/** Shows a new, empty conversation; it is stored with its first question. */
export function openNew() {
  current = blank();
  emit("thread", current);
}

/** Shows a conversation, from memory if it was open before, and refreshes it from the server. */
export async function open(id) {
  const thread = threads.get(id) ?? { ...blank(), id, loading: true, conversation: find(id) ?? { id, title: "", settings: {} } };
  threads.set(id, thread);
  current = thread;
  emit("thread", thread);
  await refresh(thread);
}

export async function refresh(thread) {
  const before = thread.messages;
  try {
    const [conversation, messages] = await Promise.all([fetchOne(thread.id), messagesOf(thread.id)]);
    thread.conversation = conversation;
    // What was asked meanwhile the server could not tell yet.
    const asked = thread.messages.filter((one) => !before.includes(one) && !messages.some((known) => known.id === one.id));
    merge(thread, messages);
    thread.messages.push(...asked);
    thread.problem = null;
    remember(conversation);
  } catch (problem) {
    thread.problem = problem;
  }
  thread.loading = false;
  for (const message of thread.messages) if (!message.local && message.role === "assistant" && running(message)) follow(message);
  if (current === thread) emit("thread", thread);
}

const messagesOf = async (id) => (await getAll(`chat/conversations/${id}/messages`)).map(messageOf);

/** Records that are being written here keep their identity: their views and their stream hang on it. */
function merge(thread, messages) {
  const known = new Map(thread.messages.map((one) => [one.id, one]));
  thread.messages = messages.map((fresh) => {
    const old = known.get(fresh.id);
    if (!old) return fresh;
    if (running(old) && old.seq >= 0 && running(fresh)) return Object.assign(old, { siblings: fresh.siblings });
    return Object.assign(old, fresh);
  });
}

/** Asks a question at the end of the open conversation, or instead of one (`instead`: a message that is edited). */
export async function ask(content, options, instead = null) {
  const thread = current;
  const kept = instead ? thread.messages.slice(0, thread.messages.indexOf(instead)) : thread.messages;
  const parent = kept.findLast((one) => !one.local);
  const question = localMessage({ role: "user", ...contentOf(content), siblings: instead ? [...branch(instead), "new"] : [] });
  const answer = localMessage({ role: "assistant", status: "pending", agent_id: options.agent_id });
  const before = thread.messages;
  thread.messages = [...kept, question, answer];
  emit("thread", thread);
  const request = { content, ...options };
  if (thread.id) request.conversation_id = thread.id;
  if (thread.id && (parent || instead)) request.parent_id = parent?.id ?? null;
  try {
    const started = instead
      ? await startTurn(`chat/messages/${instead.id}/edit`, { content, ...options }, answer)
      : heavy(request)
        ? await startTurn("chat/stream", request, answer)
        : await send(request, answer);
    question.id = started.user_message_id;
  } catch (error) {
    thread.messages = before;
    emit("thread", thread);
    emit("problem", error);
    throw error;
  }
  question.local = answer.local = false;
  named(question);
  if (!thread.id) await adopt(thread, answer.conversation_id);
  else touch(thread.id);
  emit("asked", thread);
  return answer;
}

/** Puts the id that the server gave into the place kept among the siblings. */
function named(message) {
  message.siblings = message.siblings.map((id) => (id === "new" ? message.id : id));
  emit("message", message);
}

// The socket takes frames up to 256 KiB; a question with pictures goes by REST.
const heavy = (request) => typeof request.content !== "string" || request.content.length > 60000;

async function adopt(thread, id) {
  thread.id = id;
  threads.set(id, thread);
  thread.conversation = { ...thread.conversation, id };
  if (current === thread) emit("location", id);
  remember({ id, title: thread.conversation.title, pinned: false, archived: false, updated_at: new Date().toISOString() });
  retitle(thread);
}

/** Another answer to the same question, beside the one that is there. */
export async function regenerate(message, options = {}) {
  const thread = current;
  const before = thread.messages;
  const at = before.indexOf(message);
  const answer = localMessage({
    role: "assistant",
    status: "pending",
    siblings: [...branch(message), "new"],
    conversation_id: thread.id,
    agent_id: message.agent_id,
    agent: message.agent,
  });
  thread.messages = [...before.slice(0, at), answer];
  emit("thread", thread);
  try {
    await startTurn(`chat/messages/${message.id}/regenerate`, options, answer);
    answer.local = false;
    named(answer);
    touch(thread.id);
  } catch (error) {
    thread.messages = before;
    emit("thread", thread);
    emit("problem", error);
  }
}

/** Shows the sibling of `message` that is `step` further. */
export async function switchBranch(message, step) {
  const thread = current;
  const ids = branch(message);
  const target = ids[ids.indexOf(message.id) + step];
  if (!target) return;
  await change(thread.id, { leaf: target }).catch((problem) => emit("problem", problem));
  await refresh(thread);
}

/** Keeps what a person thinks of an answer; `rating` null takes it back. */
export async function rate(message, rating, comment = "") {
  await post(`chat/messages/${message.id}/feedback`, { rating, comment });
  Object.assign(message, { feedback: rating, feedback_comment: comment });
  emit("message", message);
}

on("turn-ended", async (message) => {
  const thread = threads.get(message.conversation_id);
  if (!thread) return;
  if (current === thread) emit("thread", thread);
  // The stored message knows more than the stream could say.
  if (message.status !== "complete") await refresh(thread);
});

async function retitle(thread) {
  if (threads.get(thread.id) !== thread) return;
  const conversation = await fetchOne(thread.id).catch(() => null);
  if (!conversation) return;
  thread.conversation = conversation;
  remember(conversation);
  if (current === thread) emit("conversation-shown", conversation);
}
on("conversation", (conversation) => {
  const thread = threads.get(conversation.id);
  if (!thread) return;
  thread.conversation = conversation;
  if (current === thread) emit("conversation-shown", conversation);
});
// Changed elsewhere: what was asked or chosen in another tab is shown here, and its answer is followed.
on("conversation-read", (conversation) => {
  const thread = threads.get(conversation.id);
  if (!thread || thread !== current || thread.loading || thread.messages.some((one) => one.local)) return;
  if (conversation.leaf !== (thread.messages.at(-1)?.id ?? null)) refresh(thread);
});
on("conversation-gone", (id) => {
  threads.delete(id);
  if (current.id === id) {
    openNew();
    emit("location", null);
  }
});
on("signed-out", () => {
  threads.clear();
  current = blank();
});
