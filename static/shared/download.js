// @ts-check
// Saving what the API answers as a file: the page's token is in a header, so a plain link would not do.

import { authorised } from "./api.js";
import { h } from "./dom.js";
import { networkProblem } from "./problems.js";

/**
 * Fetches `path` and lets the browser save it as `name`.
 *
 * @param {string} path
 * @param {{query: Record<string, unknown>, accept: string, name: string}} options
 */
export async function saveFile(path, { query, accept, name }) {
  const response = await authorised(path, { query, headers: { Accept: accept } });
  const url = URL.createObjectURL(await response.blob().catch(() => Promise.reject(networkProblem())));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
