// @ts-check
// A list of the API that is shown page by page.

import { get } from "./api.js";
import { emit } from "./bus.js";
import { fill, h } from "./dom.js";
import { mergedPages } from "./merged_pages.js";
import { section } from "./section.js";

/**
 * `load(path, query)` shows the first page with `draw(items)`; "Show more" adds the next ones to it.
 * `again()` reads the first page again and leaves the further ones; resolves with whether it could.
 * Both `again()` and `redraw()` take no button away that has the focus: they draw when the focus leaves.
 */
export function pagedList(draw) {
  const body = h("div", {});
  const more = h("button", { type: "button", class: "button", hidden: true, onclick: follow }, "Show more");
  const el = h("div", {}, body, h("div", { class: "more" }, more));
  let items = [];
  let firstCount = 0; // how many items are the first page
  let next = null;
  let late = false; // what changed is not drawn yet
  let shown = null; // the path whose items stand there
  /** @type {Record<string, unknown>} */
  let asked = {};
  const first = section(body, (page) => {
    items = page.results;
    firstCount = items.length;
    show(page);
  });

  function show(page) {
    next = page.next;
    more.hidden = !next;
    late = false;
    fill(body, draw(items));
  }

  function redraw() {
    late = body.contains(document.activeElement);
    if (!late) fill(body, draw(items));
  }

  body.addEventListener("focusout", () => late && setTimeout(() => late && body.isConnected && redraw()));

  function load(path, query) {
    // What belongs to something else is not shown until the answer comes, not even for a moment.
    if (path !== shown) {
      fill(body);
      more.hidden = true;
    }
    shown = path;
    asked = query;
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

  async function again() {
    const [path, query, before] = [shown, asked, items];
    const page = await get(path, query).catch(() => null);
    if (!page || path !== shown || query !== asked || items !== before) return false;
    if (items.length <= firstCount) next = page.next;
    items = mergedPages(items, firstCount, page.results);
    firstCount = page.results.length;
    more.hidden = !next;
    redraw();
    return true;
  }

  return { el, load, again, items: () => items, redraw };
}
