// @ts-check
// Requests to /api/v1 as the signed-in person.

import { address, readJson, refuse, send } from "./http.js";
import { renew, token } from "./session.js";

/** @typedef {{method?: string, query?: Record<string, unknown>, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} Options */

/**
 * The response to a request with the person's access token. A 401 is tried once more after one renewal of it.
 * Throws a `Problem` for every answer that is no success.
 *
 * @param {string} path below /api/v1/, or a `next` address
 * @param {Options} [options]
 */
export async function authorised(path, { query, ...options } = {}) {
  const url = address(path, query);
  let bearer = token();
  let response = await send(url, { ...options, bearer });
  if (response.status === 401 && (await renew(bearer))) {
    bearer = token();
    response = await send(url, { ...options, bearer });
  }
  await refuse(response);
  return response;
}

/**
 * The parsed answer, null for 204. Its type is what the OpenAPI document says of the path: name it where it is read.
 *
 * @param {string} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export const api = async (method, path, options) => readJson(await authorised(path, { ...options, method }));

/** @type {(path: string, query?: Record<string, unknown>) => Promise<any>} */
export const get = (path, query) => api("GET", path, { query });
/** @type {(path: string, body?: unknown, options?: Options) => Promise<any>} */
export const post = (path, body = {}, options) => api("POST", path, { body, ...options });
/** @type {(path: string, body: unknown) => Promise<any>} */
export const put = (path, body) => api("PUT", path, { body });
/** @type {(path: string, body: unknown) => Promise<any>} */
export const patch = (path, body) => api("PATCH", path, { body });
/** @type {(path: string) => Promise<any>} */
export const remove = (path) => api("DELETE", path);

/**
 * All items of a list that is answered page by page.
 *
 * @param {string} path
 * @param {Record<string, unknown>} [query]
 * @returns {Promise<any[]>}
 */
export async function getAll(path, query = {}) {
  let page = await get(path, { page_size: 100, ...query });
  const found = page.results;
  while (page.next) {
    page = await get(page.next);
    found.push(...page.results);
  }
  return found;
}

/** A key that makes a repeated write harmless. `randomUUID` is missing on pages without TLS. */
export const idempotencyKey = () =>
  crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
