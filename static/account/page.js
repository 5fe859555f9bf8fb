// @ts-check
// The account page: who one is and how the page behaves, and the keys for programs.

import { fill, h } from "../shared/dom.js";
import { keysView } from "./keys.js";
import { meView } from "./profile.js";

const TABS = { "": "Account", keys: "API keys" };

export async function open(frame) {
  const views = { "": meView(), keys: keysView() };
  const links = Object.entries(TABS).map(([name, text]) =>
    h("a", { href: name ? `/account/${name}` : "/account", data: { tab: name } }, text),
  );
  const place = h("div", {});
  fill(
    frame.el,
    h("div", { class: "page-inner account-page" }, h("nav", { class: "tabs", "aria-label": "Parts of this page" }, links), place),
  );
  let current = null;

  return {
    show([first = ""]) {
      const name = Object.hasOwn(TABS, first) ? first : "";
      frame.title(name ? "API keys" : "Account");
      for (const link of links)
        link.dataset.tab === name ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
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
