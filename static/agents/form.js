// @ts-check
// The form of an agent. What was typed stays until it is saved, whatever goes wrong.

import { patch, post, put } from "../shared/api.js";
import { emit } from "../shared/bus.js";
import { h } from "../shared/dom.js";
import { notify } from "../shared/notices.js";
import { agentControls } from "./form_controls.js";

/** `agent` without an id is one to be made. `budget`: its monthly limit, undefined where none can be set. `saved(agent, budget)` after each save. */
export function agentForm(agent, tools, { budget = undefined, saved }) {
  const controls = agentControls(agent, tools, budget, changed);
  const { fields } = controls;
  const save = h("button", { class: "button primary" }, agent.id ? "Save" : "Create agent");
  const state = h("span", { class: "hint", role: "status" });
  let kept = controls.value();
  let keptMonth = controls.month();

  const changes = () =>
    Object.fromEntries(Object.entries(controls.value()).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(kept[name])));
  const dirty = () => Object.keys(changes()).length > 0 || controls.month() !== keptMonth;

  function changed() {
    state.textContent = dirty() ? "Not saved yet" : "";
  }

  async function submit(event) {
    event.preventDefault();
    fields.clear();
    const wrong = controls.unreadable();
    if (Object.keys(wrong).length) return fields.mark(wrong);
    save.disabled = true;
    const before = agent.version;
    try {
      await keep();
      if (controls.month() !== keptMonth) await keepMonth();
      emit("agent-changed", agent);
      notify(agent.version === before ? "Saved" : `Saved as version ${agent.version}`);
      saved(agent, keptMonth);
    } catch (problem) {
      fields.complain(problem);
    } finally {
      save.disabled = false;
      changed();
    }
  }

  async function keep() {
    const [sent, body] = [controls.value(), changes()];
    if (!agent.id) agent = await post("agents/", sent);
    else if (Object.keys(body).length) agent = await patch(`agents/${agent.id}`, body);
    // What was typed while it was on its way is not saved yet.
    kept = sent;
  }

  async function keepMonth() {
    const limit = controls.month();
    try {
      await put("billing/budgets", { scope: "agent", scope_id: agent.id, limit_usd: limit });
      keptMonth = limit;
    } catch (problem) {
      if (problem.param === "limit_usd") Object.assign(problem, { param: "budget", details: { budget: problem.details.limit_usd } });
      throw problem;
    }
  }

  const el = h(
    "form",
    { class: "stack agent-form", novalidate: true, onsubmit: submit },
    controls.panels,
    fields.general,
    h("footer", { class: "save-bar" }, state, save),
  );
  return { el, dirty, focus: controls.focus };
}
