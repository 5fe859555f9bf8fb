// @ts-check
// Who is signed in. The access token lives in this module only; see docs/adr/0020-page-session.md.

import { emit } from "./bus.js";
import { address, readJson, send } from "./http.js";

const KEY = "aiagents.refresh";
// Names this browser's sign-in, so that tabs of two different people never exchange tokens.
const NAME = "aiagents.session";
const channel = "BroadcastChannel" in window ? new BroadcastChannel("aiagents.session") : null;
let access = "";
let renewal = null;

const stored = () => sessionStorage.getItem(KEY) ?? "";
const name = () => sessionStorage.getItem(NAME) ?? "";

export const token = () => access;
export const signedIn = () => Boolean(access);

// Held by every tab that is signed in, so that a new one knows whether anybody is there to be asked.
const PRESENT = "aiagents.signed-in";
let leave = null;

function present(now) {
  if (now && !leave) {
    const left = new Promise((resolve) => (leave = resolve));
    navigator.locks?.request(PRESENT, { mode: "shared" }, () => left);
  } else if (!now) {
    leave?.();
    leave = null;
  }
}

function keep(tokens, tell = true) {
  access = tokens.access;
  present(true);
  sessionStorage.setItem(KEY, tokens.refresh);
  // Tabs share one family of tokens: a tab that kept the old one would be taken for a thief.
  if (tell) share();
}

const share = () => channel?.postMessage({ kind: "tokens", name: name(), access, refresh: stored() });

function forget(tell = true) {
  const was = Boolean(access || stored());
  if (tell && name()) channel?.postMessage({ kind: "left", name: name() });
  access = "";
  present(false);
  sessionStorage.removeItem(KEY);
  sessionStorage.removeItem(NAME);
  if (was) emit("signed-out");
}

let waiting = null;

channel?.addEventListener("message", ({ data }) => {
  if (data.kind === "tokens" && (data.name === name() || (waiting && !name()))) {
    sessionStorage.setItem(NAME, data.name);
    keep(data, false);
    waiting?.();
  } else if (data.kind === "left" && data.name === name()) forget(false);
  else if (data.kind === "ask" && access && (!data.name || data.name === name())) share();
});

/** Milliseconds that another tab is given to answer: a tab without a session of its own depends on it, and tabs in the background are slow. */
async function patience() {
  if (stored() || !navigator.locks) return 120;
  const { held } = await navigator.locks.query();
  return held.some((lock) => lock.name === PRESENT) ? 3000 : 0;
}

/** Whether another tab of this browser is signed in and gave its tokens. */
async function askOtherTabs() {
  const most = channel ? await patience() : 0;
  if (!most) return false;
  return new Promise((resolve) => {
    const done = (found) => {
      waiting = null;
      resolve(found);
    };
    waiting = () => done(true);
    setTimeout(() => done(Boolean(access)), most);
    channel.postMessage({ kind: "ask", name: name() });
  });
}

const post = async (path, body, bearer = "") => readJson(await send(address(`auth/${path}`), { method: "POST", body, bearer }));

/** True when this tab, or another of this browser, had a session that still holds. */
export async function resume() {
  if (await askOtherTabs()) return true;
  return Boolean(stored()) && renew();
}

/** A new access token; callers at the same time share one request. False: the session is over. */
export function renew(stale = access) {
  if (access && access !== stale) return Promise.resolve(true);
  renewal ??= locked(() => rotate(stale)).finally(() => {
    renewal = null;
  });
  return renewal;
}

const locked = (work) => (navigator.locks ? navigator.locks.request("aiagents.refresh", work) : work());

async function rotate(stale) {
  // Another tab may have renewed while this one waited for the lock.
  await new Promise((resolve) => setTimeout(resolve));
  if (access && access !== stale) return true;
  const refresh = stored();
  if (!refresh) return (forget(), false);
  try {
    keep(await post("refresh", { refresh }));
    return true;
  } catch (problem) {
    if (problem.status !== 401 && problem.status !== 400 && problem.status !== 403) throw problem;
    return (forget(), false);
  }
}

/** A new access token for the same session, as a changed password gives. */
export function takeAccess(token) {
  if (!token) return;
  keep({ access: token, refresh: stored() });
  emit("access-replaced");
}

export async function logIn(email, password) {
  begin(await post("login", { email, password }));
}

export async function register(email, password, fullName) {
  begin(await post("register", fullName ? { email, password, name: fullName } : { email, password }));
}

function begin(answer) {
  sessionStorage.setItem(NAME, crypto.getRandomValues(new Uint32Array(4)).join("-"));
  keep(answer);
}

export async function logOut(everywhere = false) {
  const refresh = stored();
  const bearer = access;
  forget();
  await post(everywhere ? "logout-all" : "logout", everywhere ? {} : { refresh }, bearer).catch(() => {});
}
