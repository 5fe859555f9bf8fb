// @ts-check
// Server-Sent Events: the one reader of the pages (docs/streaming.md says what the events mean).

import { authorised } from "./api.js";

/** @typedef {{type: string, id: string, data: any}} StreamEvent */

/**
 * Yields the events of a POST, or of a GET where there is no body, until the stream ends. A refusal is thrown as a `Problem`.
 * Leaving the loop early closes the connection; the work on the server goes on.
 *
 * @param {string} path
 * @param {{body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {AsyncGenerator<StreamEvent, void, void>}
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

/**
 * Yields the events of a text that comes in pieces, wherever it is cut. Comments, and an event that the end cuts off, are left out.
 *
 * @param {ReadableStream<string>} stream
 * @returns {AsyncGenerator<StreamEvent, void, void>}
 */
export async function* parseEvents(stream) {
  const reader = stream.getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      // A piece may end between the two characters of one line end.
      const whole = text.endsWith("\r") ? text.slice(0, -1) : text;
      const blocks = whole.split(/\r\n\r\n|\n\n|\r\r/);
      text = blocks.pop() + text.slice(whole.length);
      for (const block of blocks) {
        const event = parseBlock(block);
        if (event) yield event;
      }
    }
  } finally {
    // Also where the consumer leaves its loop early. There may be no one left to read an error of the connection.
    reader.cancel().catch(() => {});
  }
}

/** @param {string} block the lines of one event */
function parseBlock(block) {
  const lines = block.split(/\r\n|\n|\r/);
  const field = (name) =>
    lines
      .filter((line) => line.startsWith(`${name}:`))
      .map((line) => line.slice(name.length + 1).replace(/^ /, ""))
      .join("\n");
  const data = field("data");
  return data ? { type: field("event"), id: field("id"), data: JSON.parse(data) } : null;
}
