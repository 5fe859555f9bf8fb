// @ts-check
// A list of the API that is shown page by page.

import { get } from "./api.js";
import { emit } from "./bus.js";
import { fill, h } from "./dom.js";
import { section } from "./section.js";

/** `load(path, query)` shows the first page with `draw(items)`; "Show more" adds the next ones to it. */
export function pagedList(draw) {
  const body = h("div", {});
  const more = h("button", { type: "button", class: "button", hidden: true, onclick: follow }, "Show more");
  const el = h("div", {}, body, h("div", { class: "more" }, more));
  let items = [];
  let next = null;
  let shown = null; // the path whose items stand there
  const first = section(body, (page) => {
    items = page.results;
    show(page);
  });

  function show(page) {
    next = page.next;
    more.hidden = !next;
    fill(body, draw(items));
  }

  function load(path, query) {
    // What belongs to something else is not shown until the answer comes, not even for a moment.
    if (path !== shown) {
      fill(body);
      more.hidden = true;
    }
    shown = path;
    return first(() => get(path, query));
  }

  async function follow() {
    more.disabled = true;
    const wanted = next;
    try {
      const page = await get(wanted);
      if (wanted !== next) return;
      items = [...items, ...page.results];
      show(page);
    } catch (problem) {
      emit("problem", problem);
    } finally {
      more.disabled = false;
    }
  }

  return { el, load, items: () => items, redraw: () => fill(body, draw(items)) };
}
