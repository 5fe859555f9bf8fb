import assert from "node:assert/strict";
import { test } from "node:test";

import { promptLines } from "../../static/agents/line_changes.js";

test("changed lines stand with two unchanged ones around them", () => {
  const before = ["a", "b", "c", "d", "e", "f"].join("\n");
  const after = ["a", "b", "c", "d", "E", "f"].join("\n");
  assert.deepEqual(promptLines(before, after), [
    ["…", ""],
    [" ", "c"],
    [" ", "d"],
    ["-", "e"],
    ["+", "E"],
    [" ", "f"],
  ]);
});

test("both texts can be read off, however they differ", () => {
  for (const [a, b] of [
    ["", "x"],
    ["x\ny", "y\nx"],
    ["one", "one\ntwo"],
    ["same", "other"],
  ]) {
    const lines = promptLines(a, b);
    const side = (sign) => lines.filter(([mark]) => mark === sign || mark === " ").map(([, line]) => line);
    assert.deepEqual([side("-").join("\n"), side("+").join("\n")], [a, b]);
  }
});

test("texts of very many lines are not compared line by line", () => {
  const long = Array.from({ length: 700 }, (_, i) => `line ${i}`).join("\n");
  assert.equal(promptLines(long, `${long}!`).length, 1400);
});
