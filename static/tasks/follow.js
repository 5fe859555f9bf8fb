// @ts-check
// The events of a run while it goes on; taken up again after a broken connection.

import { events } from "../shared/event_stream.js";
import { cut } from "../shared/rewind.js";

const FIRST_PAUSE = 700;
const LONGEST_PAUSE = 15000;

/** `text(so far)` with each piece of the answer, `changed()` whenever the run's row says more. Returns the way to stop. */
export function follow(task, run, { text, changed }) {
  const leave = new AbortController();
  let written = "";
  let last = "";
  let pause = FIRST_PAUSE;
  let attempt = 0;

  function take({ type, id, data }) {
    if (id) last = id;
    pause = FIRST_PAUSE;
    if (type === "content.delta") text((written += data.text));
    else if (type === "message.rewind") text((written = cut(written, data.length)));
    else if (type === "run.status" && data.attempt !== attempt) {
      // A new attempt begins its text anew.
      attempt = data.attempt;
      text((written = ""));
      changed();
    } else if (type !== "reasoning.delta" && type !== "task.status") changed();
    return type === "message.end" || type === "error";
  }

  async function listen() {
    while (!leave.signal.aborted) {
      try {
        for await (const event of events(`tasks/${task}/events?run_id=${run}`, {
          headers: last ? { "Last-Event-ID": last } : {},
          signal: leave.signal,
        }))
          if (take(event)) return changed();
      } catch (problem) {
        if (leave.signal.aborted || problem.status === 404) return changed();
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(LONGEST_PAUSE, pause * 2);
    }
  }
  listen();
  return () => leave.abort();
}
