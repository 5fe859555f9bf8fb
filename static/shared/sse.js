// @ts-check
// Server-Sent Events: the one reader of the pages.

/**
 * Yields the events of a text that comes in pieces, wherever it is cut. Comments, and an event that the end cuts off, are left out.
 *
 * @param {ReadableStream<string>} stream
 * @returns {AsyncGenerator<SentEvent, void, void>}
 */
export async function* parseEvents(stream) {
  const reader = stream.getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      text += value ?? "";
      // A piece may end between the two characters of one line end.
      const whole = !done && text.endsWith("\r") ? text.slice(0, -1) : text;
      const blocks = whole.split(/\r\n\r\n|\n\n|\r\r/);
      text = blocks.pop() + text.slice(whole.length);
      for (const block of blocks) {
        const event = parseBlock(block);
        if (event) yield event;
      }
      if (done) return;
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
