// @ts-check
// The list of conversations: pages of it, search, and what may be done to one.

import { get, patch, remove } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";

export const list = { items: [], next: null, loading: false, ended: false, search: "", archived: false };
let generation = 0;

const newestFirst = (a, b) => Number(b.pinned) - Number(a.pinned) || Date.parse(b.updated_at) - Date.parse(a.updated_at);

/** Starts the list anew, e.g. after another search. */
export function reload(changes = {}) {
  Object.assign(list, changes, { items: [], next: null, ended: false, loading: false });
  generation += 1;
  return more();
}

/** Loads the next page, once at a time. */
export async function more() {
  if (list.loading || list.ended) return;
  const mine = generation;
  list.loading = true;
  emit("conversations");
  try {
    const page = await (list.next ? get(list.next) : firstPage());
    if (mine !== generation) return;
    const known = new Set(list.items.map((one) => one.id));
    list.items.push(...page.results.filter((one) => !known.has(one.id)));
    list.next = page.next;
    list.ended = !page.next;
  } catch (problem) {
    if (mine !== generation) return;
    list.ended = true;
    emit("problem", problem);
  } finally {
    if (mine === generation) list.loading = false;
    emit("conversations");
  }
}

/** Pinned ones stand above all others, however old they are. */
async function firstPage() {
  const query = { page_size: 30, search: list.search, archived: list.archived };
  if (list.search || list.archived) return get("chat/conversations", query);
  const [pinned, rest] = await Promise.all([
    get("chat/conversations", { ...query, page_size: 100, pinned: true }),
    get("chat/conversations", { ...query, pinned: false }),
  ]);
  return { results: [...pinned.results, ...rest.results], next: rest.next };
}

export const find = (id) => list.items.find((one) => one.id === id);

/** Puts a conversation into the list, or its new facts over the old ones. */
export function remember(conversation) {
  const known = find(conversation.id);
  if (known) Object.assign(known, conversation);
  else if (!list.search && Boolean(conversation.archived) === list.archived) list.items.push(conversation);
  list.items.sort(newestFirst);
  emit("conversations");
}

export function touch(id) {
  const known = find(id);
  if (!known) return;
  known.updated_at = new Date().toISOString();
  order();
}

function order() {
  list.items.sort(newestFirst);
  emit("conversations");
}

export const fetchOne = (id) => get(`chat/conversations/${id}`);

export async function change(id, fields) {
  const changed = await patch(`chat/conversations/${id}`, fields);
  if ("archived" in fields && Boolean(changed.archived) !== list.archived) drop(id);
  else remember(changed);
  if ("pinned" in fields) order();
  emit("conversation", changed);
  return changed;
}

export async function erase(id) {
  await remove(`chat/conversations/${id}`);
  drop(id);
  emit("conversation-gone", id);
}

// Most conversations that are read one by one; where more changed, the first page is read.
const MOST_SINGLE = 3;

on("news-conversations", (ids) => (ids.size && ids.size <= MOST_SINGLE ? [...ids].forEach(readAgain) : readPage(ids)));

const gone = new Set();

on("news-gone", (ids) => {
  for (const id of ids) {
    gone.add(id);
    drop(id);
    emit("conversation-gone", id);
  }
});

/** Shows what one conversation is by now: changed, new, moved to or from the archive, or gone. */
async function readAgain(id) {
  if (gone.has(id)) return;
  let fresh;
  try {
    fresh = await fetchOne(id);
  } catch (problem) {
    if (problem.status !== 404) return;
    drop(id);
    emit("conversation-gone", id);
    return;
  }
  if (Boolean(fresh.archived) === list.archived) remember(fresh);
  else drop(id);
  emit("conversation", fresh);
  emit("conversation-read", fresh);
}

async function readPage(ids) {
  const mine = generation;
  const page = await firstPage().catch(() => null);
  if (!page || mine !== generation) return;
  if (page.next) for (const one of page.results) remember(one);
  else Object.assign(list, { items: page.results, next: null, ended: true });
  order();
  const open = new URLSearchParams(location.search).get("c");
  if (location.pathname === "/" && open && (!ids.size || ids.has(open))) readAgain(open);
}

function drop(id) {
  list.items = list.items.filter((one) => one.id !== id);
  emit("conversations");
}

on("signed-out", () => {
  generation += 1;
  gone.clear();
  Object.assign(list, { items: [], next: null, ended: false, loading: false, search: "", archived: false });
});
