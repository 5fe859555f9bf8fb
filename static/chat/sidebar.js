// The conversations at the side; on a phone a drawer.

import { accountCorner } from "./account.js";
import { emit, on } from "./bus.js";
import { change, erase, list, more, reload } from "./conversations.js";
import { debounce, fill, h, icon, iconButton, perFrame } from "./dom.js";
import { age } from "./format.js";
import { askText, confirm, menu } from "./overlay.js";
import { ROOMS, place } from "./rooms.js";
import * as threads from "./threads.js";
import { liveIn } from "./turns.js";
import { waiting } from "../tasks/waiting.js";

/** `open(id)` opens a conversation, `open(null)` a new one; `go(address)` anything; `hide()` closes the drawer. */
export function sidebar(open, go, hide) {
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search conversations" });
  search.addEventListener("input", debounce(() => reload({ search: search.value.trim() }), 250));
  const archive = h("button", { type: "button", class: "archive-switch", "aria-pressed": "false", onclick: () => reload({ archived: !list.archived }) }, icon("archive", 15), h("span", {}, "Archive"));
  const items = h("div", { class: "conversations" });
  const sentinel = h("div", { class: "sentinel" });
  const scroller = h("nav", { class: "side-scroll", "aria-label": "Conversations" }, items, sentinel);
  const el = h(
    "aside",
    { class: "sidebar", id: "sidebar" },
    h("div", { class: "side-head" }, h("a", { class: "brand", href: "/", onclick: home }, icon("spark", 20), "aiagents"), iconButton("sidebar", "Hide conversations", hide, { class: "hide-side" })),
    h("button", { type: "button", class: "new-chat", onclick: () => open(null) }, icon("compose", 17), "New chat"),
    roomLinks(go),
    h("div", { class: "search" }, icon("search", 15), search),
    scroller,
    archive,
    accountCorner(go),
  );

  function home(event) {
    event.preventDefault();
    open(null);
  }

  new IntersectionObserver((entries) => entries.some((one) => one.isIntersecting) && list.next && more(), { root: scroller, rootMargin: "300px" }).observe(sentinel);

  const draw = perFrame(() => {
    const rows = [];
    let heading = "";
    for (const one of list.items) {
      const next = list.search ? "Found" : list.archived ? "Archived" : one.pinned ? "Pinned" : age(one.updated_at);
      if (next !== heading) rows.push(h("h2", {}, (heading = next)));
      rows.push(row(one, open));
    }
    if (!rows.length) rows.push(h("p", { class: "none" }, list.loading ? "Loading" : list.search ? "Nothing found." : list.archived ? "The archive is empty." : "Your conversations will stand here."));
    const focused = document.activeElement?.closest?.(".conversation")?.dataset.id;
    fill(items, rows);
    if (focused) items.querySelector(`[data-id="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
    archive.setAttribute("aria-pressed", String(list.archived));
    archive.lastChild.textContent = list.archived ? "Back to conversations" : "Archive";
    if (search.value.trim() !== list.search && document.activeElement !== search) search.value = list.search;
  });
  for (const name of ["conversations", "thread", "live", "location", "place"]) on(name, draw);
  return { el };
}

/** A link to each room; the one that is shown is marked. */
function roomLinks(go) {
  const links = ["agents", "tasks", "usage"].map((name) => {
    const follow = (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      go(`/${name}`);
    };
    return h("a", { class: "room-link", href: `/${name}`, onclick: follow, data: { room: name } }, icon(ROOMS[name].icon, 17), h("span", {}, ROOMS[name].label), name === "tasks" && waiting());
  });
  on("place", ({ room }) => links.forEach((link) => (link.dataset.room === room ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current"))));
  return h("nav", { class: "room-links", "aria-label": "Rooms" }, links);
}

function row(one, openOne) {
  const title = one.title || "New conversation";
  const open = (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    openOne(one.id);
  };
  const isCurrent = threads.current.id === one.id && !place().room;
  const more = iconButton("more", `Actions for ${title}`, () => actions(one, more), { size: 16, class: "row-more" });
  more.setAttribute("aria-haspopup", "menu");
  return h(
    "div",
    { class: `conversation ${isCurrent ? "current" : ""}`, data: { id: one.id } },
    h("a", { href: `/?c=${encodeURIComponent(one.id)}`, onclick: open, title, "aria-current": isCurrent ? "page" : null }, h("span", { class: "title" }, title)),
    liveIn(one.id) && h("span", { class: "live-dot", role: "img", "aria-label": "being answered" }),
    one.pinned && icon("pin", 13),
    more,
  );
}

const guarded = (work) => work.catch((problem) => emit("problem", problem));

export function actions(one, anchor) {
  menu(anchor, [
    { label: one.pinned ? "Unpin" : "Pin", icon: "pin", run: () => guarded(change(one.id, { pinned: !one.pinned })) },
    { label: "Rename", icon: "pencil", run: () => rename(one) },
    { label: one.archived ? "Take out of the archive" : "Archive", icon: "archive", run: () => guarded(change(one.id, { archived: !one.archived })) },
    { label: "Export", icon: "download", run: () => emit("export", one) },
    { label: "Delete", icon: "trash", danger: true, run: () => removeOne(one) },
  ]);
}

export async function rename(one) {
  const title = await askText("Rename conversation", "Title", one.title);
  if (title && title !== one.title) await guarded(change(one.id, { title }));
}

async function removeOne(one) {
  const sure = await confirm("Delete conversation", `“${one.title || "New conversation"}” disappears at once, answers that are being written in it stop, and after some days it is erased with its messages and files. What it cost stays in your usage, without the text.`, "Delete");
  if (sure) await guarded(erase(one.id));
}
