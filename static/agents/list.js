// @ts-check
// All agents that the person may ask: their own, and what others share.

import { debounce, h, icon } from "../shared/dom.js";
import { pagedList } from "../shared/paged_list.js";
import { showWaitingRuns } from "../shared/waiting_runs.js";
import { agentBadges, modelLabel } from "./labels.js";

const OWNERS = { "": "All", true: "Mine", false: "Shared" };

export function listView({ go, title }) {
  const search = h("input", { type: "search", class: "field", placeholder: "Search agents", "aria-label": "Search agents" });
  const filters = Object.entries(OWNERS).map(([value, text]) => h("a", { class: "segment", data: { value } }, text));
  const waiting = h("div", {});
  const list = pagedList(draw);
  const head = h(
    "div",
    { class: "agents-head" },
    h("div", { class: "search-field" }, icon("search", 15), search),
    h("nav", { class: "segments", "aria-label": "Whose agents" }, filters),
    h("a", { class: "button primary", href: "/agents/new" }, icon("plus", 16), "New agent"),
  );
  let chosen = { search: "", mine: "" };

  const addressOf = ({ search: text, mine }) => {
    const query = new URLSearchParams(Object.entries({ search: text, mine }).filter(([, value]) => value));
    return query.size ? `/agents?${query}` : "/agents";
  };
  search.addEventListener(
    "input",
    debounce(() => head.isConnected && go(addressOf({ ...chosen, search: search.value.trim() })), 300),
  );

  function draw(agents) {
    if (agents.length) return h("div", { class: "agent-cards" }, agents.map(card));
    if (chosen.search || chosen.mine)
      return h("div", { class: "empty" }, h("p", {}, "No agent fits."), h("a", { class: "button", href: "/agents" }, "Show all"));
    return h(
      "div",
      { class: "empty" },
      icon("robot", 30),
      h("p", {}, "An agent is a prompt with a model, tools and limits that you can chat with, run and put into tasks."),
      h("a", { class: "button primary", href: "/agents/new" }, "Make the first one"),
    );
  }

  return {
    el: h("div", { class: "stack" }, head, waiting, list.el),
    show(_, query) {
      const mine = query.get("mine");
      chosen = { search: query.get("search") ?? "", mine: Object.hasOwn(OWNERS, mine ?? "") ? (mine ?? "") : "" };
      title("Agents");
      if (document.activeElement !== search) search.value = chosen.search;
      for (const link of filters) {
        link.setAttribute("href", addressOf({ ...chosen, mine: link.dataset.value }));
        if (link.dataset.value === chosen.mine) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
      showWaitingRuns(waiting);
      return list.load("agents/", { ...chosen, page_size: 30 });
    },
  };
}

const TOOLS_SHOWN = 3;

function card(agent) {
  const names = agent.tools.map((one) => one.name);
  const more = names.length - TOOLS_SHOWN;
  return h(
    "article",
    { class: "card agent-card", "aria-label": agent.name },
    h("header", {}, h("span", { class: "avatar" }, icon("robot", 16)), h("h2", {}, h("a", { href: `/agents/${agent.id}` }, agent.name))),
    h("p", { class: "about" }, agent.description || h("span", { class: "none" }, "No description")),
    h("p", { class: "facts" }, icon("spark", 14), modelLabel(agent)),
    h(
      "p",
      { class: "facts" },
      icon("wrench", 14),
      names.length ? [names.slice(0, TOOLS_SHOWN).join(", "), more > 0 && ` and ${more} more`] : "No tools",
    ),
    h("div", { class: "badges" }, agentBadges(agent)),
    h(
      "footer",
      {},
      h("a", { class: "button small", href: `/?agent=${agent.id}`, "aria-label": `Chat with ${agent.name}` }, "Chat"),
      h("a", { class: "button small", href: `/agents/${agent.id}/runs`, "aria-label": `Run ${agent.name}` }, icon("play", 13), "Run"),
    ),
  );
}
