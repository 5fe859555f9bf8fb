import assert from "node:assert/strict";
import { test } from "node:test";

import { age, bytes, count, duration, plainAmount, roughUsd, usd } from "../../static/shared/format.js";
import { sumUsd } from "../../static/usage/sum_usd.js";

const table = (name, call, rows) =>
  test(name, () => {
    for (const [value, wanted] of rows) assert.equal(call(value), wanted, String(value));
  });

table("usd", usd, [
  [null, "–"],
  ["", "–"],
  ["0", "$0"],
  ["0.5", "$0.50"],
  ["0.05", "$0.05"],
  ["0.001230", "$0.00123"],
  ["-0.25", "-$0.25"],
  ["0.9999999", "$1.00"],
  ["12.5", "$12.50"],
  ["1234567.891", "$1,234,567.89"],
  ["0.0000001", "$0.0000001"],
  ["0.00000001", "<$0.0000001"],
]);

table("roughUsd", roughUsd, [
  ["0", "$0.00"],
  ["0.00001", "<$0.0001"],
  ["0.0012", "$0.0012"],
  ["3.456", "$3.46"],
]);

// A limit of 500 was once shown as 5.
table("plainAmount leaves out zeros behind the point only", plainAmount, [
  ["500", "500"],
  ["500.000000", "500"],
  ["0.50", "0.5"],
  ["1.010", "1.01"],
  ["-5.10", "-5.1"],
  ["", ""],
  [null, ""],
]);

table("count", count, [
  [null, "–"],
  [0, "0"],
  [9999, "9,999"],
  [12345, "12k"],
  [1250000, "1.3M"],
]);

table("duration", duration, [
  [null, "–"],
  [950, "950 ms"],
  [1500, "1.5 s"],
  [15000, "15 s"],
  [125000, "2 min 5 s"],
]);

table("bytes", bytes, [
  [1, "1 KB"],
  [2048, "2 KB"],
  [3 * 1024 * 1024, "3.0 MB"],
]);

test("age", () => {
  const now = new Date(2026, 4, 20, 12);
  const at = (day, month = 4) => age(new Date(2026, month, day, 11).toISOString(), now);
  assert.deepEqual(
    [at(20), at(19), at(14), at(1), at(1, 1)],
    ["Today", "Yesterday", "Previous 7 days", "Previous 30 days", "February 2026"],
  );
});

test("a sum of money is exact", () => {
  assert.equal(sumUsd(["0.1", "0.2"]), "0.300000000000");
  assert.equal(sumUsd(["-1.5", "0.25", "3"]), "1.750000000000");
  assert.equal(sumUsd(["-0.000000000001"]), "-0.000000000001");
  assert.equal(sumUsd(Array(1000).fill("0.000000000001")), "0.000000001000");
  assert.equal(sumUsd([]), "0.000000000000");
});
