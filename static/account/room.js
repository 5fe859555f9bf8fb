// The account room: who one is and how the page behaves, and the keys for programs.

import { fill, h } from "../chat/dom.js";
import { keysView } from "./keys.js";
import { meView } from "./me.js";

const TABS = { "": "Account", keys: "API keys" };

export async function open(frame) {
  const views = { "": meView(), keys: keysView() };
  const links = Object.entries(TABS).map(([name, text]) => h("a", { href: name ? `/account/${name}` : "/account", data: { tab: name } }, text));
  const place = h("div", {});
  fill(frame.el, h("div", { class: "room-inner account-room" }, h("nav", { class: "tabs", "aria-label": "Parts of this room" }, links), place));
  let current = null;

  return {
    show([first = ""]) {
      const name = Object.hasOwn(TABS, first) ? first : "";
      frame.title(name ? "API keys" : "Account");
      for (const link of links) link.dataset.tab === name ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
      if (views[name] === current) return;
      current = views[name];
      fill(place, current.el);
      current.show();
    },
    leave() {
      current = null;
    },
  };
}
