import assert from "node:assert/strict";
import { test } from "node:test";

import { collect, concerns, SUBJECTS } from "../../static/shared/news_subjects.js";

test("a burst is one event for each subject, with every id once", () => {
  const waiting = new Map();
  for (const id of ["a", "b", "a"]) collect(waiting, { kind: "task.changed", id });
  collect(waiting, { kind: "run.changed", id: "r" });
  assert.deepEqual(
    [...waiting].map(([name, ids]) => [name, [...ids]]),
    [
      ["news-tasks", ["a", "b"]],
      ["news-runs", ["r"]],
    ],
  );
});

test("lost news are about everything, also beside news about one thing", () => {
  const waiting = new Map();
  collect(waiting, { kind: "news.lost", id: null });
  collect(waiting, { kind: "task.changed", id: "a" });
  assert.deepEqual(new Set(waiting.keys()), new Set(Object.values(SUBJECTS).filter(Boolean)));
  assert.ok(concerns(waiting.get("news-tasks"), "another"));
});

test("a kind of a newer server is ignored", () => {
  const waiting = new Map();
  for (const kind of ["news.of.tomorrow", "toString"]) collect(waiting, { kind, id: "a" });
  assert.equal(waiting.size, 0);
});
