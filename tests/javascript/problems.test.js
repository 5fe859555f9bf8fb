import assert from "node:assert/strict";
import { test } from "node:test";

import { describeError, fieldErrors, networkProblem, Problem } from "../../static/shared/problems.js";

const ERROR = {
  type: "invalid_request",
  message: "name: It is empty.",
  code: "invalid",
  param: "name",
  details: { name: ["It is empty.", "second"], "tools.0.name": ["Unknown."] },
  request_id: "r1",
};

test("a problem keeps the contract's error and is described like one that a message keeps", () => {
  const problem = new Problem(ERROR, 400, 3);
  assert.deepEqual([problem.status, problem.retryAfter, problem.code], [400, 3, "invalid"]);
  assert.deepEqual(describeError(problem), describeError(ERROR));
  assert.equal(describeError(ERROR).requestId, "r1");
});

test("an unknown type has a title, and a network problem says what to do", () => {
  assert.equal(describeError({ type: "new_kind", message: "Hm." }).title, "Something went wrong");
  assert.match(describeError(networkProblem()).hint, /reconnects/);
});

test("each field has its first sentence; details of other errors name no field", () => {
  assert.deepEqual(fieldErrors(new Problem(ERROR, 400)), { name: "It is empty.", "tools.0.name": "Unknown." });
  assert.deepEqual(fieldErrors(new Problem({ ...ERROR, details: { model: "gpt" }, param: null })), {});
  assert.deepEqual(fieldErrors(new Problem({ ...ERROR, details: {} })), { name: ERROR.message });
});
