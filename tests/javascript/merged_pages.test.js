import assert from "node:assert/strict";
import { test } from "node:test";

import { mergedPages } from "../../static/shared/merged_pages.js";

const list = (ids) => [...ids].map((id) => ({ id }));
const merged = (items, firstCount, fresh) =>
  mergedPages(list(items), firstCount, list(fresh))
    .map((one) => one.id)
    .join("");

test("one page is replaced by what it is now", () => {
  assert.equal(merged("abc", 3, "xab"), "xab");
  assert.equal(merged("", 0, "a"), "a");
});

test("further pages stay, without what is on the first page now", () => {
  assert.equal(merged("abcde", 3, "abc"), "abcde");
  assert.equal(merged("abcde", 3, "acd"), "acde");
});

test("what newer items pushed off the first page stays, what is gone goes", () => {
  assert.equal(merged("abcde", 3, "xab"), "xabcde");
  assert.equal(merged("abcde", 3, "xyb"), "xybacde");
  assert.equal(merged("abcde", 3, "bcd"), "bcde");
});

test("a record that changed is the new one", () => {
  const found = mergedPages([{ id: "a", name: "old" }, { id: "b" }], 1, [{ id: "a", name: "new" }]);
  assert.deepEqual(found, [{ id: "a", name: "new" }, { id: "b" }]);
});
