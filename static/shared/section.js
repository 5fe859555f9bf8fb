// @ts-check
// A part of the page that is fetched on its own: it waits, fails and is tried again on its own.

import { fill, h } from "./dom.js";
import { describeError } from "./problems.js";

/** `load(work)` shows what `work()` fetches with `draw(found)`. What stood there stays until then; of two loads only the last counts. */
export function section(el, draw) {
  let last = 0;
  return async function load(work) {
    const mine = (last += 1);
    el.setAttribute("aria-busy", "true");
    if (!el.firstChild) fill(el, h("p", { class: "empty", role: "status" }, "Loading"));
    try {
      const found = await work();
      if (mine === last) draw(found);
    } catch (problem) {
      if (mine === last) failed(el, problem, () => load(work));
    } finally {
      if (mine === last) el.removeAttribute("aria-busy");
    }
  };
}

function failed(el, problem, again) {
  const { title, text, requestId } = describeError(problem);
  const id = requestId && h("p", { class: "request-id" }, `Request ${requestId}`);
  fill(
    el,
    h(
      "div",
      { class: "empty", role: "alert" },
      h("p", {}, h("strong", {}, title), h("br"), text),
      id,
      h("button", { type: "button", class: "button", onclick: again }, "Try again"),
    ),
  );
}
