// @ts-check
// Sibling messages: edits of one question, further answers to it; and turns that start over REST.

import { idempotencyKey } from "../shared/api.js";
import { events } from "../shared/event_stream.js";
import { networkProblem, Problem } from "../shared/problems.js";
import { follow } from "./turns.js";

/** The ids of a message and its siblings, in the order they were made. */
export const branch = (message) => (message.siblings.length ? message.siblings : [message.id]);

/**
 * Starts a turn over REST, for what the socket does not carry, and follows it there. Returns the data of `message.start`.
 * The turn goes on without this viewer.
 */
export async function startTurn(path, body, answer) {
  for await (const { type, data } of events(path, { body, headers: { "Idempotency-Key": idempotencyKey() } })) {
    if (type === "error") throw new Problem(data.error);
    if (type !== "message.start") continue;
    answer.id = data.message_id;
    answer.conversation_id = data.conversation_id;
    follow(answer);
    return data;
  }
  throw networkProblem();
}
