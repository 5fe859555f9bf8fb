// @ts-check
// Short messages at the edge of the page, and the banner about the connection.

import { on } from "./bus.js";
import { h, icon, iconButton } from "./dom.js";
import { describeError } from "./problems.js";

const corner = h("div", { class: "notices", role: "status", "aria-live": "polite" });
const banner = h("div", { class: "banner", role: "status", "aria-live": "polite", hidden: true });
document.body.append(corner);

export const bannerElement = banner;

export function notify(text, kind = "info") {
  const notice = h("div", { class: `notice ${kind}` }, text);
  corner.append(notice);
  setTimeout(() => notice.remove(), kind === "info" ? 1800 : 5000);
}

/** An error, with what may be done and the id that finds it in the logs; stays until it is closed. */
export function showProblem(error) {
  const { title, text, hint, requestId } = describeError(error);
  const notice = h(
    "div",
    { class: "notice problem", role: "alert" },
    icon("alert"),
    h(
      "div",
      {},
      h("strong", {}, title),
      h("p", {}, text, hint ? ` ${hint}` : ""),
      requestId && h("p", { class: "request-id" }, `Request ${requestId}`),
    ),
    iconButton("close", "Close this message", () => notice.remove(), { size: 15 }),
  );
  corner.append(notice);
  while (corner.children.length > 4) corner.firstChild.remove();
  setTimeout(() => notice.remove(), 15000);
}

on("problem", showProblem);

let late = 0;
on("connection", ({ state, failures }) => {
  clearTimeout(late);
  const away = state === "waiting" || (state === "connecting" && failures > 0);
  if (!away) return (banner.hidden = true);
  // A blink of the connection is not worth a word.
  late = setTimeout(() => {
    banner.textContent = navigator.onLine
      ? "Connection lost. Reconnecting; answers continue on the server."
      : "You are offline. Answers continue on the server.";
    banner.hidden = false;
  }, 800);
});
