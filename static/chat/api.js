// Requests to /api/v1 as the signed-in person.

import { Problem, network } from "./problems.js";
import { renew, token } from "./session.js";

const BASE = "/api/v1/";

/** The parsed answer (null for 204). A 401 is tried once more after one renewal; every failure is a `Problem`. */
export async function api(method, path, { body, query, headers = {}, signal } = {}) {
  const url = address(path, query);
  let used = token();
  let response = await send(url, method, body, headers, used, signal);
  if (response.status === 401 && (await renew(used))) {
    used = token();
    response = await send(url, method, body, headers, used, signal);
  }
  return read(response);
}

async function send(url, method, body, headers, bearer, signal) {
  const all = { Accept: "application/json", Authorization: `Bearer ${bearer}`, ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  try {
    return await fetch(url, { method, headers: all, body: body === undefined ? undefined : JSON.stringify(body), credentials: "omit", signal });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw network();
  }
}

async function read(response) {
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const fallback = { message: `The server answered ${response.status}.`, request_id: response.headers.get("X-Request-ID") };
  throw new Problem(answer.error ?? fallback, response.status, Number(response.headers.get("Retry-After")) || null);
}

/** A path below /api/v1/, or a `next` address of a list, kept to this origin whatever host it names. */
function address(path, query) {
  const url = /^https?:/.test(path) ? new URL(path) : new URL(BASE + path, location.origin);
  const own = new URL(url.pathname + url.search, location.origin);
  for (const [key, value] of Object.entries(query ?? {})) if (value !== null && value !== undefined && value !== "") own.searchParams.set(key, value);
  return own;
}

export const get = (path, query, options) => api("GET", path, { query, ...options });
export const post = (path, body = {}, options) => api("POST", path, { body, ...options });
export const patch = (path, body) => api("PATCH", path, { body });
export const remove = (path) => api("DELETE", path);

/** A key that makes a repeated write harmless. */
export const idempotencyKey = () => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

/** Posts and returns the data of the stream's first event, or the whole answer where none is streamed. */
export async function stream(path, body, headers) {
  const leave = new AbortController();
  const accept = { Accept: "text/event-stream", ...headers };
  let used = token();
  const begin = () => send(address(path), "POST", body, accept, used, leave.signal);
  let response = await begin();
  if (response.status === 401 && (await renew(used))) {
    used = token();
    response = await begin();
  }
  if (!response.ok || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) return read(response);
  try {
    return await firstEvent(response);
  } finally {
    // The turn goes on without this viewer; the socket takes over.
    leave.abort();
  }
}

async function firstEvent(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw network();
    text += value;
    for (const event of text.split(/\r?\n\r?\n/).slice(0, -1)) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
      if (!data) continue;
      const facts = JSON.parse(data);
      if (facts.error && !facts.message_id) throw new Problem(facts.error, response.status);
      return facts;
    }
  }
}
