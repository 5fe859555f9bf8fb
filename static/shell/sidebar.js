// @ts-check
// The conversations at the side; on a phone a drawer.

import { conversationMenu } from "../chat/conversation_menu.js";
import { list, more, reload } from "../chat/conversations.js";
import * as threads from "../chat/threads.js";
import { liveIn } from "../chat/turns.js";
import { on } from "../shared/bus.js";
import { debounce, fill, h, icon, iconButton, perFrame } from "../shared/dom.js";
import { age } from "../shared/format.js";
import { waitingCount } from "../shared/waiting_runs.js";
import { accountMenu } from "./account_menu.js";
import { PAGES, placeOf } from "./pages.js";

/** `open(id)` opens a conversation, `open(null)` a new one; `go(address)` anything; `hide()` closes the drawer. */
export function sidebar(open, go, hide) {
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search conversations" });
  search.addEventListener(
    "input",
    debounce(() => reload({ search: search.value.trim() }), 250),
  );
  const archive = h(
    "button",
    { type: "button", class: "archive-switch", "aria-pressed": "false", onclick: () => reload({ archived: !list.archived }) },
    icon("archive", 15),
    h("span", {}, "Archive"),
  );
  const items = h("div", { class: "conversations" });
  const sentinel = h("div", { class: "sentinel" });
  const scroller = h("nav", { class: "side-scroll", "aria-label": "Conversations" }, items, sentinel);
  const el = h(
    "aside",
    { class: "sidebar", id: "sidebar" },
    h(
      "div",
      { class: "side-head" },
      h("a", { class: "brand", href: "/", onclick: home }, icon("spark", 20), "aiagents"),
      iconButton("sidebar", "Hide conversations", hide, { class: "hide-side" }),
    ),
    h("button", { type: "button", class: "new-chat", onclick: () => open(null) }, icon("compose", 17), "New chat"),
    pageLinks(go),
    h("div", { class: "search" }, icon("search", 15), search),
    scroller,
    archive,
    accountMenu(go),
  );

  function home(event) {
    event.preventDefault();
    open(null);
  }

  new IntersectionObserver((entries) => entries.some((one) => one.isIntersecting) && list.next && more(), {
    root: scroller,
    rootMargin: "300px",
  }).observe(sentinel);

  const draw = perFrame(() => {
    const rows = [];
    let heading = "";
    for (const one of list.items) {
      const next = list.search ? "Found" : list.archived ? "Archived" : one.pinned ? "Pinned" : age(one.updated_at);
      if (next !== heading) rows.push(h("h2", {}, (heading = next)));
      rows.push(row(one, open));
    }
    if (!rows.length)
      rows.push(
        h(
          "p",
          { class: "none" },
          list.loading
            ? "Loading"
            : list.search
              ? "Nothing found."
              : list.archived
                ? "The archive is empty."
                : "Your conversations will stand here.",
        ),
      );
    const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest(".conversation"))?.dataset.id;
    fill(items, rows);
    if (focused) items.querySelector(`[data-id="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
    archive.setAttribute("aria-pressed", String(list.archived));
    archive.lastChild.textContent = list.archived ? "Back to conversations" : "Archive";
    if (search.value.trim() !== list.search && document.activeElement !== search) search.value = list.search;
  });
  for (const name of ["conversations", "thread", "live", "location", "place"]) on(name, draw);
  return { el };
}

/** A link to each page; the one that is shown is marked. */
function pageLinks(go) {
  const links = ["agents", "tasks", "usage"].map((name) => {
    const follow = (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      go(`/${name}`);
    };
    return h(
      "a",
      { class: "page-link", href: `/${name}`, onclick: follow, data: { page: name } },
      icon(PAGES[name].icon, 17),
      h("span", {}, PAGES[name].label),
      name === "tasks" && waitingCount(),
    );
  });
  on("place", ({ page }) =>
    links.forEach((link) =>
      link.dataset.page === page ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current"),
    ),
  );
  return h("nav", { class: "page-links", "aria-label": "Pages" }, links);
}

function row(one, openOne) {
  const title = one.title || "New conversation";
  const open = (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    openOne(one.id);
  };
  const isCurrent = threads.current.id === one.id && !placeOf().page;
  const more = iconButton("more", `Actions for ${title}`, () => conversationMenu(one, more), { size: 16, class: "row-more" });
  more.setAttribute("aria-haspopup", "menu");
  return h(
    "div",
    { class: `conversation ${isCurrent ? "current" : ""}`, data: { id: one.id } },
    h(
      "a",
      { href: `/?c=${encodeURIComponent(one.id)}`, onclick: open, title, "aria-current": isCurrent ? "page" : null },
      h("span", { class: "title" }, title),
    ),
    liveIn(one.id) && h("span", { class: "live-dot", role: "img", "aria-label": "being answered" }),
    one.pinned && icon("pin", 13),
    more,
  );
}
