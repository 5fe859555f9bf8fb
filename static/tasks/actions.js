// @ts-check
// What may be done with a task: run, cancel, pause, resume, delete.

import { get, idempotencyKey, post, remove } from "../shared/api.js";
import { emit } from "../shared/bus.js";
import { h, icon } from "../shared/dom.js";
import { notify } from "../shared/notices.js";
import { confirm } from "../shared/overlay.js";
import { isOpen } from "./labels.js";

const RUNS = { run: true, cancel: true };
const DONE = { run: "It will run in a moment", cancel: "Cancelled", pause: "Paused", resume: "It runs again by its schedule" };

/** The buttons of a task; `changed(task)` after each, with null once it is deleted. */
export function taskButtons(task, changed) {
  const act = (name) => async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      const answer = await post(`tasks/${task.id}/${name}`, {}, name === "run" ? { headers: { "Idempotency-Key": idempotencyKey() } } : {});
      notify(DONE[name]);
      // `run` and `cancel` answer with the run, `pause` and `resume` with the task.
      changed(name in RUNS ? await get(`tasks/${task.id}`) : answer);
    } catch (problem) {
      emit("problem", problem);
    } finally {
      button.disabled = false;
    }
  };
  const button = (name, label, image) =>
    h(
      "button",
      { type: "button", class: "button small", "aria-label": `${label}: ${task.name}`, onclick: act(name) },
      icon(image, 13),
      label,
    );
  const erase = async () => {
    if (
      !(await confirm(
        "Delete task",
        `“${task.name}” and its runs disappear at once, an open run is cancelled, and after some days all of it is erased. What it cost stays in your usage, without the text.`,
        "Delete",
      ))
    )
      return;
    try {
      await remove(`tasks/${task.id}`);
      notify("Deleted");
      changed(null);
    } catch (problem) {
      emit("problem", problem);
    }
  };
  return [
    isOpen(task.last_run) ? button("cancel", "Cancel run", "stop") : button("run", "Run now", "play"),
    task.paused
      ? button("resume", "Resume", "play")
      : ["interval", "cron", "at"].includes(task.schedule.type) && button("pause", "Pause", "pause"),
    h("a", { class: "button small", href: `/tasks/${task.id}/edit`, "aria-label": `Edit ${task.name}` }, icon("pencil", 13), "Edit"),
    h(
      "button",
      { type: "button", class: "button small", "aria-label": `Delete ${task.name}`, onclick: erase },
      icon("trash", 13),
      "Delete",
    ),
  ];
}
