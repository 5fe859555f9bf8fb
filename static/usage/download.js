// The usage as a file: the page's token is in a header, so a plain link would not do.

import { h } from "../chat/dom.js";
import { Problem, network } from "../chat/problems.js";
import { renew, token } from "../chat/session.js";

/** Saves the calls that the filters leave as CSV. */
export async function saveCsv(filters, name) {
  const url = new URL("/api/v1/billing/usage/export", location.origin);
  url.searchParams.set("format", "csv");
  for (const [key, value] of Object.entries(filters)) if (value) url.searchParams.set(key, value);
  let used = token();
  let response = await send(url, used);
  if (response.status === 401 && (await renew(used))) {
    used = token();
    response = await send(url, used);
  }
  if (!response.ok) throw new Problem((await response.json().catch(() => ({}))).error, response.status);
  const file = URL.createObjectURL(await response.blob().catch(() => Promise.reject(network())));
  h("a", { href: file, download: `${name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(file), 10000);
}

const send = (url, bearer) => fetch(url, { headers: { Authorization: `Bearer ${bearer}`, Accept: "text/csv" }, credentials: "omit" }).catch(() => Promise.reject(network()));
