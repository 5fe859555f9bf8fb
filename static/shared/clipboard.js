// @ts-check
// Copying text, with an answer to the person on the button that was pressed.

import { notify } from "./notices.js";

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    if (!oldWay(text)) return notify("Copying is not allowed here.", "warn");
  }
  notify("Copied");
  button?.classList.add("done");
  setTimeout(() => button?.classList.remove("done"), 1400);
}

/** Pages without TLS have no clipboard API. */
function oldWay(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "off-screen";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
