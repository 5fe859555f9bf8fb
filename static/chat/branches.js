// Sibling messages: edits of one question, further answers to it; and turns that start over REST.

import { idempotencyKey, stream } from "./api.js";
import { normalMessage } from "./records.js";
import { follow } from "./turns.js";

/** The ids of a message and its siblings, in the order they were made. */
export const branch = (message) => (message.siblings.length ? message.siblings : [message.id]);

/** Starts a turn over REST, for what the socket does not carry, and follows it there. Returns the first event. */
export async function startTurn(path, body, answer) {
  const start = await stream(path, body, { "Idempotency-Key": idempotencyKey() });
  answer.id = start.message_id ?? start.message?.id;
  answer.conversation_id = start.conversation_id ?? answer.conversation_id;
  if (start.message && start.message.status === "complete") Object.assign(answer, normalMessage(start.message));
  else follow(answer);
  return start;
}
