// @ts-check
// The tasks page: the list, a form, one task with its runs, one run.

import { fill, h } from "../shared/dom.js";
import { formView } from "./form.js";
import { listView } from "./list.js";
import { runView } from "./run.js";
import { taskView } from "./task.js";

export async function open(frame) {
  // The agents' styles of lists, forms and runs hold here, too.
  const place = h("div", { class: "page-inner agents tasks" });
  const views = { list: listView(frame), form: formView(frame), task: taskView(frame), run: runView(frame) };
  let current = null;
  fill(frame.el, place);

  return {
    show(path, query) {
      const [name, ...rest] = viewOf(path);
      if (views[name] !== current) {
        current?.leave?.();
        current = views[name];
        fill(place, current.el);
        frame.el.parentElement?.scrollTo(0, 0);
      }
      return current.show(rest, query);
    },
    leave() {
      current?.leave?.();
      current = null;
    },
  };
}

function viewOf([id, part, run]) {
  if (!id) return ["list"];
  if (id === "new") return ["form", null];
  if (part === "edit") return ["form", id];
  return part === "runs" && run ? ["run", id, run] : ["task", id];
}
