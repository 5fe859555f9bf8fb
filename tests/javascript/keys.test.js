import assert from "node:assert/strict";
import { test } from "node:test";

import { isEnter, isEscape } from "../../static/shared/dom.js";

// Chromium and Firefox while a word is composed, Safari after it.
const INPUT_METHOD = [
  { isComposing: true, keyCode: 229 },
  { isComposing: true, keyCode: 13 },
  { isComposing: false, keyCode: 229 },
];

test("a key that the input method takes neither sends nor closes", () => {
  for (const [key, check] of [
    ["Enter", isEnter],
    ["Escape", isEscape],
  ]) {
    for (const event of INPUT_METHOD) assert.equal(check({ key, ...event }), false);
    assert.equal(check({ key, isComposing: false, keyCode: 13 }), true);
    assert.equal(check({ key: "a", isComposing: false, keyCode: 65 }), false);
  }
});
