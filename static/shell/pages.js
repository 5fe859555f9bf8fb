// @ts-check
// The pages beside the chat: each is its own module, fetched when it is first entered.

import { emit } from "../shared/bus.js";
import { fill, h } from "../shared/dom.js";
import { describeError } from "../shared/problems.js";
import { isOutdated } from "./deployment.js";

/**
 * @typedef {{el: HTMLElement, go: (address: string) => void, title: (text: string) => void}} Frame what a page gets: its element, a way to any
 *   address, and a way to name what is shown
 * @typedef {{show: (path: string[], query: URLSearchParams) => unknown, leave?: () => void}} Page what `open(frame)` of a page's module returns
 * @typedef {{page: string | null, path: string[], query: URLSearchParams}} Place an address; `page` is null where the chat is meant
 */

export const PAGES = {
  agents: { label: "Agents", icon: "robot", load: () => import("../agents/page.js") },
  tasks: { label: "Tasks", icon: "clock", load: () => import("../tasks/page.js") },
  usage: { label: "Usage", icon: "chart", load: () => import("../usage/page.js") },
  account: { label: "Account and keys", icon: "key", load: () => import("../account/page.js") },
};

/** @returns {Place} */
export function placeOf(url = new URL(location.href)) {
  const [first, ...path] = url.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  return { page: Object.hasOwn(PAGES, first ?? "") ? first : null, path, query: url.searchParams };
}

/** The pane of the pages: `show(place)` enters or moves within one, `leave()` goes out of it; `heading(text)` names what is shown. */
export function pagePane(go, heading) {
  const el = h("div", { class: "page-pane" });
  const opened = new Map(); // name of a page -> promise of it
  let current = null; // the page that is shown
  /** @type {Place | null} */
  let latest = null; // the place wanted last
  /** @type {Page | null} */
  let inside = null; // the page that must be called when it is left

  el.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (
      !link ||
      event.defaultPrevented ||
      event.button ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      link.target ||
      link.hasAttribute("download")
    )
      return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !(url.pathname === "/" || placeOf(url).page)) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });

  function open(name) {
    /** @type {Frame} */
    const frame = { el: h("div", { class: "page" }), go, title: (text) => current === name && heading(text) };
    const one = PAGES[name].load().then(async (module) => ({ frame, page: await module.open(frame) }));
    opened.set(name, one);
    one.catch(() => opened.delete(name));
    return one;
  }

  /** What is shown until the page may be. */
  function wait(name) {
    heading(PAGES[name].label);
    fill(el, h("p", { class: "empty", role: "status" }, "Loading"));
  }

  async function show(next) {
    if (current !== next.page) {
      leave();
      current = next.page;
      wait(current);
    }
    latest = next;
    try {
      const { frame, page } = await (opened.get(next.page) ?? open(next.page));
      // A person who clicks on while a module loads wants the last place only.
      if (latest !== next) return;
      inside = page;
      if (el.firstChild !== frame.el) fill(el, frame.el);
      await page.show(next.path, next.query);
    } catch (problem) {
      if (latest !== next) return;
      if (inside) emit("problem", problem);
      else await failed(next, problem);
    }
  }

  async function failed(next, problem) {
    const outdated = !problem.status && (await isOutdated());
    if (latest !== next) return;
    const text = outdated
      ? "aiagents was updated while this page was open."
      : problem.status
        ? describeError(problem).text
        : "This part of the page could not be loaded.";
    const button = outdated
      ? h("button", { type: "button", class: "button primary", onclick: () => location.reload() }, "Reload")
      : h("button", { type: "button", class: "button", onclick: () => show(next) }, "Try again");
    fill(el, h("div", { class: "empty", role: "alert" }, h("p", {}, text), button));
  }

  function leave() {
    inside?.leave?.();
    current = latest = inside = null;
  }

  /** After a sign-out nothing of one person may be left for the next. */
  function forget() {
    leave();
    opened.clear();
    fill(el);
  }

  return { el, wait, show, leave, forget };
}
