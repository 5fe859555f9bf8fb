import assert from "node:assert/strict";
import { test } from "node:test";

import { mathRule } from "../../static/shared/math_rule.js";
import markdownIt from "../../static/vendor/markdown-it/markdown-it.js";

const md = markdownIt({ html: false, linkify: true });
mathRule(md, () => {});

function formulas(text) {
  const all = md.parse(text, {}).flatMap((token) => [token, ...(token.children ?? [])]);
  return all.filter((token) => token.type === "math_inline" || token.type === "math_block").map((token) => token.content);
}

const ROWS = [
  ["$x^2$", ["x^2"]],
  ["$$x^2$$", ["x^2"]],
  ["\\(x\\) and \\[y\\]", ["x", "y"]],
  ["$$\nx\n$$", ["x"]],
  ["$a$ and $b$", ["a", "b"]],
  ["$5 and $10", []],
  ["cost: $ 3 or 4 $", []],
  ["pay $5 or `echo $HOME`", []],
  ["$a and `b$` c", []],
  ["$a `b$", ["a `b"]],
  ["see `$x$` and $y$", ["y"]],
  ["$a [b$](https://example.com) c", []],
  ["$a https://example.com/$b c", []],
  ["$$\na\n```\nb $$\n```", []],
  ["```\n$x$\n```", []],
  ["    $x$\n", []],
];

test("a formula never takes its closing mark from code or a link", () => {
  for (const [text, wanted] of ROWS) assert.deepEqual(formulas(text), wanted, text);
});

test("many opening marks take time in proportion to their number", () => {
  const time = (size) => {
    const text = "$a `b ".repeat(size);
    const begun = performance.now();
    md.parse(text, {});
    return performance.now() - begun;
  };
  time(500);
  assert.ok(time(16000) < 40 * Math.max(time(2000), 5));
});
