import assert from "node:assert/strict";
import { test } from "node:test";

import { parseEvents } from "../../static/shared/sse.js";

const stream = (pieces) =>
  new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });

async function read(...pieces) {
  const found = [];
  for await (const event of parseEvents(stream(pieces))) found.push(event);
  return found;
}

const TEXT = 'event: content.delta\nid: 7\ndata: {"text":"a\\nb"}\n\n: still here\n\nevent: message.end\nid: 8\ndata: {"a":\ndata: 1}\n\n';
const EVENTS = [
  { type: "content.delta", id: "7", data: { text: "a\nb" } },
  { type: "message.end", id: "8", data: { a: 1 } },
];

for (const [name, end] of Object.entries({ LF: "\n", CRLF: "\r\n", CR: "\r" }))
  test(`events are the same wherever the text is cut, with ${name}`, async () => {
    const text = TEXT.replaceAll("\n", end);
    for (let at = 0; at <= text.length; at += 1) assert.deepEqual(await read(text.slice(0, at), text.slice(at)), EVENTS, `cut at ${at}`);
    assert.deepEqual(await read(...text), EVENTS);
  });

test("an event that the end cuts off is left out", async () => {
  assert.deepEqual(await read(TEXT, 'event: error\ndata: {"error"'), EVENTS);
});

test("a colon in a value and a value without a space are kept", async () => {
  assert.deepEqual(await read('event:a:b\ndata:"c: d"\n\n'), [{ type: "a:b", id: "", data: "c: d" }]);
});

test("a consumer that leaves early cancels the stream", async () => {
  let cancelled = false;
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue('data: "x"\n\n'),
    cancel: () => {
      cancelled = true;
    },
  });
  for await (const event of parseEvents(endless)) {
    assert.equal(event.data, "x");
    break;
  }
  assert.ok(cancelled);
});

test("an error of the connection reaches the consumer", async () => {
  const broken = new ReadableStream({ pull: (controller) => controller.error(new TypeError("reset")) });
  await assert.rejects(parseEvents(broken).next(), { message: "reset" });
});
