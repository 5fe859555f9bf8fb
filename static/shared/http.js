// @ts-check
// The one call of `fetch` in the pages. Who asks (api.js) and how the answer is read is decided by the callers.

import { networkProblem, Problem } from "./problems.js";

const BASE = "/api/v1/";

/**
 * A path below /api/v1/, or a `next` address of a list, kept to this origin whatever host it names.
 *
 * @param {string} path
 * @param {Record<string, unknown>} [query] empty values are left out
 */
export function address(path, query = {}) {
  const url = /^https?:/.test(path) ? new URL(path) : new URL(BASE + path, location.origin);
  const own = new URL(url.pathname + url.search, location.origin);
  for (const [key, value] of Object.entries(query))
    if (value !== null && value !== undefined && value !== "") own.searchParams.set(key, String(value));
  return own;
}

/**
 * Sends one request without cookies. Returns the `Response`, whatever its status.
 * Throws a `Problem` of type `network` where the server cannot be reached, and `AbortError` where `signal` says so.
 *
 * @param {URL} url
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, bearer?: string, signal?: AbortSignal}} [options]
 */
export async function send(url, { method = "GET", body, headers = {}, bearer = "", signal } = {}) {
  /** @type {Record<string, string>} */
  const all = { Accept: "application/json", ...headers };
  if (bearer) all.Authorization = `Bearer ${bearer}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  try {
    return await fetch(url, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit",
      signal,
    });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw networkProblem();
  }
}

/**
 * The JSON of a success, null for 204. Every other answer is thrown as a `Problem`.
 *
 * @param {Response} response
 * @returns {Promise<any>}
 */
export async function readJson(response) {
  await refuse(response);
  return response.status === 204 ? null : response.json();
}

/**
 * Throws the `Problem` that a response stands for, unless it is a success.
 *
 * @param {Response} response
 */
export async function refuse(response) {
  if (response.ok) return;
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  // A proxy in front of the server may answer in a shape of its own.
  const answer = await response.json().catch(() => null);
  const unknown = { message: `The server answered ${response.status}.`, request_id: response.headers.get("X-Request-ID") ?? "" };
  throw new Problem(answer?.error ?? unknown, response.status, retryAfter);
}
