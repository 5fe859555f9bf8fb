import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, choiceOf, filtersOf, rangeOf, startsOf } from "../../static/usage/address.js";
import { COLOURS, seriesOf } from "../../static/usage/series.js";

const NOW = new Date("2026-03-10T14:35:00Z");
const choose = (text) => choiceOf(new URLSearchParams(text));

test("an address and what it asks for are each other's inverse", () => {
  for (const text of ["", "period=7d", "period=custom&from=2026-01-01&to=2026-01-03&by=key&show=tokens"])
    assert.equal(addressOf("/usage", choose(text)), text ? `/usage?${text}` : "/usage");
});

test("what makes no sense is as if it were not there", () => {
  assert.deepEqual(choose("period=constructor&by=__proto__&ordering=password"), choose(""));
  assert.match(choose("period=custom&from=yesterday").from, /^\d{4}-\d\d-\d\d$/);
});

test("ranges are whole hours or days in UTC", () => {
  assert.deepEqual(rangeOf(choose("period=24h"), null, NOW), { from: new Date("2026-03-09T15:00:00Z"), to: null, bucket: "hour" });
  assert.deepEqual(rangeOf(choose("period=7d"), null, NOW), { from: new Date("2026-03-04T00:00:00Z"), to: null, bucket: "day" });
  const custom = rangeOf(choose("period=custom&from=2026-01-01&to=2026-01-03"), null, NOW);
  assert.deepEqual(custom, { from: new Date("2026-01-01T00:00:00Z"), to: new Date("2026-01-04T00:00:00Z"), bucket: "day" });
  assert.equal(filtersOf(choose(""), custom).to, "2026-01-04T00:00:00.000Z");
  assert.deepEqual(startsOf(custom, NOW), ["2026-01-01", "2026-01-02", "2026-01-03"]);
  assert.equal(startsOf(rangeOf(choose("period=24h"), null, NOW), NOW).at(-1), "2026-03-10T14:00:00Z");
});

test("groups beyond the colours are drawn as one, and nothing is lost", () => {
  const groups = Array.from({ length: COLOURS + 3 }, (_, i) => ({
    model: `m${i}`,
    label: `M${i}`,
    day: "2026-01-01",
    cost_usd: "0.5",
    calls: 2,
  }));
  const series = seriesOf({ by: "model", show: "requests" }, { starts: ["2026-01-01"], bucket: "day", groups, lines: groups });
  assert.equal(series.length, COLOURS + 1);
  assert.equal(series.at(-1).label, "Others");
  assert.equal(
    series.reduce((sum, one) => sum + one.values[0], 0),
    2 * groups.length,
  );
});
