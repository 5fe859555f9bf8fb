// @ts-check
// The versions of one's own agent: what each changed, and the way back to it.

import { patch } from "../shared/api.js";
import { emit } from "../shared/bus.js";
import { add, h } from "../shared/dom.js";
import { moment } from "../shared/format.js";
import { notify } from "../shared/notices.js";
import { pagedList } from "../shared/paged_list.js";
import { changesOf } from "./changes.js";
import { definitionList } from "./definition.js";
import { promptLines } from "./line_changes.js";

const DEFINITION = ["system_prompt", "model", "goal", "parameters", "tools", "max_steps", "max_cost_usd", "max_seconds"];

/** `restored(agent)` after an old version was made the current one. */
export function versionList(agentId, restored) {
  const list = pagedList((versions) =>
    h(
      "ol",
      { class: "versions" },
      versions.map((one, at) => row(one, versions[at + 1])),
    ),
  );

  function row(one, before) {
    const whole = h("details", {}, h("summary", {}, "All of this version"));
    whole.addEventListener("toggle", () => whole.children.length === 1 && add(whole, definitionList(one)));
    const again = h("button", { type: "button", class: "button small", onclick: () => restore(one, again) }, "Restore");
    return h(
      "li",
      { class: "version", "aria-label": `Version ${one.number}` },
      h(
        "header",
        {},
        h("strong", {}, `Version ${one.number}`),
        one.current && h("span", { class: "badge good" }, "current"),
        h("small", {}, moment(one.created_at)),
        !one.current && again,
      ),
      before ? whatChanged(before, one) : one.number === 1 ? h("p", { class: "hint" }, "The first version.") : null,
      whole,
    );
  }

  async function restore(one, button) {
    button.disabled = true;
    try {
      const agent = await patch(`agents/${agentId}`, Object.fromEntries(DEFINITION.map((name) => [name, one[name]])));
      emit("agent-changed", agent);
      notify(`Version ${agent.version} is as version ${one.number} was`);
      restored(agent);
    } catch (problem) {
      button.disabled = false;
      emit("problem", problem);
    }
  }

  return {
    el: h(
      "section",
      { class: "panel", "aria-label": "Versions" },
      h("div", { class: "panel-head" }, h("h2", {}, "Versions"), h("small", {}, "Each run names the one that it used")),
      list.el,
    ),
    load: () => list.load(`agents/${agentId}/versions`, { page_size: 20 }),
  };
}

function whatChanged(before, after) {
  const fields = changesOf(before, after).map(([name, from, to]) => h("li", {}, `${name}: `, h("del", {}, from), " → ", h("ins", {}, to)));
  const prompt = before.system_prompt !== after.system_prompt;
  if (!fields.length && !prompt) return h("p", { class: "hint" }, "The same as the version before.");
  return [
    fields.length > 0 && h("ul", { class: "changes" }, fields),
    prompt &&
      h(
        "pre",
        { class: "diff", tabIndex: 0, "aria-label": "Changes of the system prompt" },
        promptLines(before.system_prompt, after.system_prompt).map(([sign, line]) =>
          h(TAG[sign] ?? "span", {}, sign === "…" ? "…\n" : `${sign} ${line}\n`),
        ),
      ),
  ];
}

const TAG = { "+": "ins", "-": "del" };
