import assert from "node:assert/strict";
import { test } from "node:test";

import { contentOf, localMessage, messageOf } from "../../static/chat/messages.js";

test("a stored question has every field of a message", () => {
  const question = { id: "1", role: "user", content: "hi", status: "complete", siblings: ["1"] };
  assert.deepEqual(messageOf(question), { ...question, parts: [], reasoning: "", steps: [], route: {}, error: null, fallbacks: [] });
});

test("no two messages share a list", () => {
  const [a, b] = [localMessage({}), localMessage({})];
  a.steps.push({ type: "tool.call" });
  assert.equal(b.steps.length, 0);
  assert.notEqual(a.id, b.id);
});

test("failed attempts lead from model to model", () => {
  const tried = [
    { model: "a", code: "x", reason: "A failed." },
    { model: "b", code: "x", reason: "B failed." },
  ];
  assert.deepEqual(messageOf({ id: "1", route: { model: "c", tried } }).fallbacks, [
    { from: "a", to: "b", reason: "A failed." },
    { from: "b", to: "c", reason: "B failed." },
  ]);
});

test("a question's parts are kept beside its text", () => {
  const parts = [
    { type: "image", media_type: "image/png", data: "AA==" },
    { type: "text", text: "a" },
    { type: "text", text: "b" },
  ];
  assert.deepEqual(contentOf(parts), { content: "a\nb", parts });
  assert.deepEqual(contentOf("x"), { content: "x", parts: [] });
});
