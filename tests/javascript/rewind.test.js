import assert from "node:assert/strict";
import { test } from "node:test";

import { cut, keptParts } from "../../static/shared/rewind.js";

test("a text is cut by code points, as the API counts", () => {
  for (const text of ["", "abc", "🌍a🌍", "é́x", "𝔘nicode"])
    for (let length = 0; length <= text.length + 2; length += 1) assert.equal(cut(text, length), [...text].slice(0, length).join(""));
});

test("text, reasoning and steps are cut together", () => {
  const record = { text: "🌍 hello", reasoning: "why", steps: [1, 2, 3] };
  assert.deepEqual(keptParts(record, { seq: 4, length: 2, reasoning_length: 0, steps: 1 }), { text: "🌍 ", reasoning: "", steps: [1] });
});
