// @ts-check
// The agents page: the list, one agent (its definition, runs and versions), one run.

import { fill, h } from "../shared/dom.js";
import { agentView } from "./agent.js";
import { listView } from "./list.js";
import { newView } from "./new.js";
import { runView } from "./run.js";

export async function open(frame) {
  const place = h("div", { class: "page-inner agents" });
  const views = { list: listView(frame), fresh: newView(frame), agent: agentView(frame), run: runView(frame) };
  let current = null;
  fill(frame.el, place);

  return {
    show(path, query) {
      const [name, ...rest] = viewOf(path);
      const entered = views[name] !== current;
      if (entered) {
        current?.leave?.();
        current = views[name];
        fill(place, current.el);
        frame.el.parentElement?.scrollTo(0, 0);
      }
      return current.show(rest, query, entered);
    },
    leave() {
      current?.leave?.();
      current = null;
    },
  };
}

/** `/agents/<id>/runs/<run>`, or `/agents/runs/<run>` of a run without an agent, is a run's page. */
function viewOf(path) {
  if (!path.length) return ["list"];
  if (path[0] === "new") return ["fresh"];
  if (path[0] === "runs") return path[1] ? ["run", null, path[1]] : ["list"];
  return path[1] === "runs" && path[2] ? ["run", path[0], path[2]] : ["agent", path[0], path[1] ?? ""];
}
