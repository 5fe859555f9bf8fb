// @ts-check
// A page that was opened before a deployment asks for modules that the new version may not serve any more.

import { send } from "../shared/http.js";

/** Whether the server now has another version of the pages than this one. False where it cannot be asked. */
export async function isOutdated() {
  const main = /** @type {HTMLScriptElement} */ (document.querySelector('script[type="module"]'));
  try {
    const response = await send(new URL("/", location.origin), { headers: { Accept: "text/html" } });
    // The name of the main module holds the hash of all modules that it loads, now or later.
    return response.ok && !(await response.text()).includes(new URL(main.src).pathname);
  } catch {
    return false;
  }
}
