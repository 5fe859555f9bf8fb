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

const NO_FORMULA = [
  "It costs $50 and the regex is `^foo$`",
  "$HOME/bin:$PATH",
  "export PATH=$HOME/bin:$PATH:/usr/bin",
  "${HOME}/bin:${PATH}",
  "$(id):$(pwd)",
  "$env:PATH;$env:HOME",
  "$5/$6 or $7-$8, ($9)/($10)",
  "US$5, A$6 and C$7$",
  "$50 per month (was 60$)",
  "between $20 (or 20$) and 30",
  "$20k salary vs 30k$",
  "^foo$ or ^bar$",
  "awk '{print $1}' a | sed 's/$/x/'",
  "it is $5 at example.com/$x",
  "pay $5, see [the price $list](https://example.com/$a)",
  "$5 [a](https://example.com/b$)",
  "$5 https://example.com/?a=$b&c=$",
  "`$x$` and ``$y`$``",
  "C:\\$Recycle.Bin and d$",
];
const FORMULAS = [
  ["the $n$th of $k$s", ["n", "k"]],
  ["$x$, ($y$) and $z$.", ["x", "y", "z"]],
  ["\u8bbe$x$\u4e3a", ["x"]],
  ["$3 \\times 4$ and $2x$ and $10\\%$", ["3 \\times 4", "2x", "10\\%"]],
  ["$\\{a\\}$ and $f(x)$ and ${n \\choose k}$", ["\\{a\\}", "f(x)", "{n \\choose k}"]],
  ["$0.5$ or $1,000$", ["0.5", "1,000"]],
];

test("a formula never takes its closing mark from code or a link", () => {
  for (const [text, wanted] of ROWS) assert.deepEqual(formulas(text), wanted, text);
});

test("dollar signs of prices, paths and code are no formula", () => {
  for (const text of NO_FORMULA) assert.deepEqual(formulas(text), [], text);
});

test("a formula may stand beside letters of a word and of other scripts", () => {
  for (const [text, wanted] of FORMULAS) assert.deepEqual(formulas(text), wanted, text);
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
