// @ts-check
// Event streams of the API, as the signed-in person (docs/streaming.md says what the events mean).

import { authorised } from "./api.js";
import { parseEvents } from "./sse.js";

/**
 * Yields the events of a POST, or of a GET where there is no body, until the stream ends. A refusal is thrown as a `Problem`.
 * Leaving the loop early closes the connection; the work on the server goes on.
 *
 * @param {string} path
 * @param {{body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {AsyncGenerator<SentEvent, void, void>}
 */
export async function* events(path, { body, headers = {}, signal } = {}) {
  const response = await authorised(path, {
    method: body === undefined ? "GET" : "POST",
    body,
    headers: { Accept: "text/event-stream", ...headers },
    signal,
  });
  yield* parseEvents(response.body.pipeThrough(new TextDecoderStream()));
}
