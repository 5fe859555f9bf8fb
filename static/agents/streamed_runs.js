// @ts-check
// Runs that this page has started and still follows.

import { idempotencyKey } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";
import { events } from "../shared/event_stream.js";
import { networkProblem } from "../shared/problems.js";
import { cut } from "../shared/rewind.js";

const runs = new Map(); // run id -> record

/** The record of a run that is followed: {id, model, input, text, steps}; `run` and `error` at its end. */
export const liveRun = (id) => runs.get(id);

/** Starts a run; resolves with its record once the server has it, and emits `run` at each change. */
export function startRun(agentId, body) {
  const leave = new AbortController();
  const record = {
    id: null,
    agentId,
    input: body.input,
    model: "",
    text: "",
    steps: [],
    run: null,
    error: null,
    done: false,
    stop: () => leave.abort(),
  };
  return new Promise((resolve, reject) => {
    listen().then(end, end);

    async function listen() {
      for await (const { type, data } of events(`agents/${agentId}/run`, {
        body: { ...body, stream: true },
        headers: { "Idempotency-Key": idempotencyKey() },
        signal: leave.signal,
      })) {
        take(record, type, data);
        if (type === "message.start") {
          runs.set(record.id, record);
          resolve(record);
        }
        if (record.id) emit("run", record);
      }
      // Its end came, or the connection broke: the run goes on without us.
    }

    function end(problem) {
      record.done = true;
      runs.delete(record.id);
      if (record.id) emit("run", record);
      else reject(problem ?? networkProblem());
    }
  });
}

function take(record, type, data) {
  if (type === "message.start") Object.assign(record, { id: data.run_id, model: data.model });
  else if (type === "tool.call" || type === "tool.result") record.steps.push({ type, ...data });
  else if (type === "content.delta") {
    // What a model says after its tools have answered is the answer; what it said before stands in its step.
    const first = record.steps.at(-1)?.type === "tool.result" && record.spoken !== record.steps.length;
    record.spoken = record.steps.length;
    record.text = first ? data.text.trimStart() : record.text + data.text;
  } else if (type === "message.rewind")
    Object.assign(record, { text: cut(record.text, data.length), steps: record.steps.slice(0, data.steps) });
  else if (type === "message.end") record.run = data;
  else if (type === "error") Object.assign(record, { run: data.run, error: data.error });
}

on("signed-out", () => {
  for (const record of runs.values()) record.stop();
  runs.clear();
});
