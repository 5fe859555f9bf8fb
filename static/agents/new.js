// @ts-check
// Making an agent, from nothing or from a copy of another one.

import { get } from "../shared/api.js";
import { fill, h } from "../shared/dom.js";
import { section } from "../shared/section.js";
import { agentForm } from "./form.js";

const EMPTY = {
  name: "",
  description: "",
  system_prompt: "",
  model: "auto",
  goal: "",
  parameters: {},
  tools: [],
  max_steps: 10,
  max_cost_usd: null,
  max_seconds: 300,
  visibility: "private",
};

export function newView({ go, title }) {
  const body = h("div", {});
  let form = null; // what was typed and not saved outlives a look elsewhere
  let of = null;
  const load = section(body, ([tools, from]) => {
    const start = from
      ? { ...EMPTY, ...from, name: `Copy of ${from.name}`.slice(0, 100), visibility: "private", id: undefined, slug: undefined }
      : EMPTY;
    form = agentForm(start, tools.results, { saved });
    fill(body, form.el);
    form.focus();
  });

  function saved(agent) {
    form = null;
    go(`/agents/${agent.id}`);
  }

  return {
    el: h(
      "div",
      { class: "stack" },
      h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("a", { href: "/agents" }, "Agents"), " / New"),
      body,
    ),
    show(_, query) {
      title("New agent");
      const from = query.get("from");
      if (form?.dirty() && of === from) return fill(body, form.el);
      of = from;
      return load(() => Promise.all([get("agents/tools"), from && get(`agents/${from}`)]));
    },
    leave() {
      if (!form?.dirty()) form = null;
    },
  };
}
