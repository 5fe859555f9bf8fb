// The rooms beside the chat: each is its own module, fetched when it is first entered.

import { emit } from "./bus.js";
import { fill, h } from "./dom.js";
import { words } from "./problems.js";

export const ROOMS = {
  agents: { label: "Agents", icon: "robot", load: () => import("../agents/room.js") },
  tasks: { label: "Tasks", icon: "clock", load: () => import("../tasks/room.js") },
  usage: { label: "Usage", icon: "chart", load: () => import("../usage/room.js") },
  account: { label: "Account and keys", icon: "key", load: () => import("../account/room.js") },
};

/** `{room, path, query}` of an address of this page; `room` is null where the chat is meant. */
export function place(url = new URL(location.href)) {
  const [first, ...path] = url.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  return { room: Object.hasOwn(ROOMS, first ?? "") ? first : null, path, query: url.searchParams };
}

/** The pane of the rooms: `show(place)` enters or moves within one, `leave()` goes out of it; `heading(text)` names what is shown. */
export function roomPane(go, heading) {
  const el = h("div", { class: "room-pane" });
  const entered = new Map(); // name of a room -> promise of it
  let current = null; // the room that is shown
  let asked = null; // the place wanted last
  let inside = null; // the room that must be told when it is left

  el.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !(url.pathname === "/" || place(url).room)) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });

  function enter(name) {
    const frame = { el: h("div", { class: "room" }), go, title: (text) => current === name && heading(text) };
    const one = ROOMS[name].load().then(async (module) => ({ frame, room: await module.open(frame) }));
    entered.set(name, one);
    one.catch(() => entered.delete(name));
    return one;
  }

  /** What stands there until the room may be shown. */
  function wait(name) {
    heading(ROOMS[name].label);
    fill(el, h("p", { class: "empty", role: "status" }, "Loading"));
  }

  async function show(next) {
    if (current !== next.room) {
      leave();
      current = next.room;
      wait(current);
    }
    asked = next;
    try {
      const { frame, room } = await (entered.get(next.room) ?? enter(next.room));
      // Who clicks on while a module loads wants the last place only.
      if (asked !== next) return;
      inside = room;
      if (el.firstChild !== frame.el) fill(el, frame.el);
      await room.show(next.path, next.query);
    } catch (problem) {
      if (asked === next) inside ? emit("problem", problem) : failed(next, problem);
    }
  }

  function failed(next, problem) {
    const text = problem.status ? words(problem).text : "This part of the page could not be loaded.";
    fill(el, h("div", { class: "empty", role: "alert" }, h("p", {}, text), h("button", { type: "button", class: "button", onclick: () => show(next) }, "Try again")));
  }

  function leave() {
    inside?.leave?.();
    current = asked = inside = null;
  }

  /** After a sign-out nothing of one person may be left for the next. */
  function forget() {
    leave();
    entered.clear();
    fill(el);
  }

  return { el, wait, show, leave, forget };
}
