// The form of an agent. What was typed stays until it is saved, whatever goes wrong.

import { api, post } from "../chat/api.js";
import { emit } from "../chat/bus.js";
import { h, icon } from "../chat/dom.js";
import { chooseModel } from "../chat/picker.js";
import { say } from "../chat/notices.js";
import { fieldSet, numberIn } from "./fields.js";
import { toolPicker } from "./form_tools.js";
import { modelLabel, plainAmount } from "./words.js";

const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/** `agent` without an id is one to be made. `budget`: its monthly limit, undefined where none can be set yet. `saved(agent)` after each save. */
export function agentForm(agent, tools, { budget, saved }) {
  const fields = fieldSet();
  const text = (name, props) => Object.assign(h("input", { class: "field", autocomplete: "off", oninput: changed, ...props }), { value: agent[name] ?? "" });
  const number = (value, props) => Object.assign(h("input", { class: "field", type: "number", oninput: changed, ...props }), { value: value ?? "" });
  const area = (name, props) => Object.assign(h("textarea", { class: "field", oninput: changed, ...props }), { value: agent[name] ?? "" });
  const amount = (value, props) => Object.assign(h("input", { class: "field", inputmode: "decimal", autocomplete: "off", oninput: changed, ...props }), { value: plainAmount(value) });

  const name = text("name", { maxlength: "100" });
  const slug = text("slug", { maxlength: "60", placeholder: "made from the name", spellcheck: "false" });
  const description = area("description", { rows: 2, maxlength: "2000" });
  const prompt = area("system_prompt", { rows: 9, maxlength: "100000", placeholder: "You are a careful accountant. Calculate, do not guess…" });
  const model = modelField(agent, changed);
  const { temperature, max_output_tokens: length, reasoning_effort: effort, ...others } = agent.parameters;
  const temperatureField = number(temperature, { min: "0", max: "2", step: "0.1", placeholder: "the model's own" });
  const lengthField = number(length, { min: "1", step: "1", placeholder: "the model's own" });
  const effortField = h("select", { class: "field", onchange: changed }, h("option", { value: "" }, "the model's own"), EFFORTS.map((one) => h("option", { value: one }, one)));
  effortField.value = effort ?? "";
  const toolList = toolPicker(tools, agent.tools, () => changed());
  const steps = number(agent.max_steps, { min: "1", step: "1" });
  const cost = amount(agent.max_cost_usd, { placeholder: "no limit" });
  const time = number(agent.max_seconds, { min: "1", step: "1" });
  const month = amount(budget, { placeholder: "no limit" });
  const visibility = h("select", { class: "field", onchange: changed }, h("option", { value: "private" }, "Private: only you"), h("option", { value: "shared" }, "Shared: everybody may see and run it"));
  visibility.value = agent.visibility;
  const save = h("button", { class: "button primary" }, agent.id ? "Save" : "Create agent");
  const state = h("span", { class: "hint", role: "status" });

  const money = (field) => field.value.trim().replace(/^\$\s*/, "") || null;
  const parameters = () => Object.fromEntries(Object.entries({ ...others, temperature: numberIn(temperatureField), max_output_tokens: numberIn(lengthField), reasoning_effort: effortField.value }).filter(([, value]) => value !== null && value !== ""));
  const now = () => ({
    name: name.value.trim(), slug: slug.value.trim() || undefined, description: description.value.trim(), visibility: visibility.value,
    system_prompt: prompt.value, ...model.value(), parameters: parameters(), tools: toolList.value(),
    max_steps: numberIn(steps), max_cost_usd: money(cost), max_seconds: numberIn(time),
  });
  let kept = now();
  let keptMonth = money(month);

  const fieldsChanged = () => {
    const next = now();
    return Object.fromEntries(Object.entries(next).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(kept[key])));
  };
  const dirty = () => Object.keys(fieldsChanged()).length > 0 || money(month) !== keptMonth;

  function changed() {
    state.textContent = dirty() ? "Not saved yet" : "";
  }

  /** What no number can be made of must not reach the API as "not given". */
  function unreadable() {
    const all = { max_steps: steps, max_seconds: time, "parameters.temperature": temperatureField, "parameters.max_output_tokens": lengthField };
    const wrong = Object.entries(all).filter(([key, field]) => Number.isNaN(numberIn(field)) || (key.startsWith("max_") && numberIn(field) === null));
    return { ...(name.value.trim() ? {} : { name: "An agent needs a name." }), ...Object.fromEntries(wrong.map(([key]) => [key, "A number."])) };
  }

  async function submit(event) {
    event.preventDefault();
    fields.clear();
    const wrong = unreadable();
    if (Object.keys(wrong).length) return fields.mark(wrong);
    save.disabled = true;
    try {
      const body = fieldsChanged();
      const before = agent;
      if (!agent.id) agent = await post("agents/", now());
      else if (Object.keys(body).length) agent = await api("PATCH", `agents/${agent.id}`, { body });
      kept = now();
      if (money(month) !== keptMonth) await keepMonth();
      state.textContent = "";
      emit("agent-changed", agent);
      say(agent.version === before.version ? "Saved" : `Saved as version ${agent.version}`);
      saved(agent, keptMonth);
    } catch (problem) {
      fields.complain(problem);
    } finally {
      save.disabled = false;
    }
  }

  async function keepMonth() {
    try {
      await api("PUT", "billing/budgets", { body: { scope: "agent", scope_id: agent.id, limit_usd: money(month) } });
      keptMonth = money(month);
    } catch (problem) {
      if (problem.param === "limit_usd") problem.details = { budget: problem.details.limit_usd };
      throw Object.assign(problem, { param: null });
    }
  }

  const hints = Object.entries(others).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  const panel = (title, ...children) => h("section", { class: "panel", "aria-label": title }, h("div", { class: "panel-head" }, h("h2", {}, title)), h("div", { class: "form" }, children));
  const el = h(
    "form",
    { class: "stack agent-form", novalidate: true, onsubmit: submit },
    panel(
      "What it is",
      h("div", { class: "two" }, fields.add("name", "Name", name, "As people see it"), fields.add("slug", "Name for programs", slug, "model: “agent:…” in OpenAI and Anthropic clients")),
      fields.add("description", "Description", description, "Tells people what it is good for; the model does not see it"),
      fields.add("visibility", "Visibility", visibility),
    ),
    panel(
      "What it is told",
      fields.add("system_prompt", "System prompt", prompt, "Said to the model before everything else"),
      fields.add("model", "Model", model.el),
      h("div", { class: "three" }, fields.add("parameters.temperature", "Temperature", temperatureField, "0 is exact, 2 is wild"), fields.add("parameters.max_output_tokens", "Longest answer", lengthField, "in tokens, of each model call"), fields.add("parameters.reasoning_effort", "Reasoning effort", effortField, "of models that think")),
      hints.length > 0 && h("p", { class: "hint" }, `Also set: ${hints.join(", ")}`),
    ),
    panel("What it may use", toolList.el, fields.watch("tools", toolList.el)),
    panel(
      "How far it may go",
      h("div", { class: "three" }, fields.add("max_steps", "Step limit", steps, "model calls of one run"), fields.add("max_cost_usd", "Cost limit", cost, "US dollars per run"), fields.add("max_seconds", "Time limit", time, "seconds per run, without waiting for people")),
      budget !== undefined && h("div", { class: "three" }, fields.add("budget", "Monthly budget", month, "US dollars, over all its runs and chats")),
    ),
    fields.general,
    h("footer", { class: "save-bar" }, state, save),
  );
  return { el, dirty, focus: () => name.focus() };
}

/** A button that shows the model and opens the page's list of them. */
function modelField({ model, goal }, changed) {
  let chosen = model.startsWith("auto:") ? { model: "auto", goal: model.slice(5) } : { model, goal };
  const label = h("span", {});
  const el = h("button", { type: "button", class: "field model-field", "aria-haspopup": "dialog", onclick: ask }, label, icon("chevron", 15));
  const show = () => (label.textContent = modelLabel(chosen));

  async function ask() {
    const next = await chooseModel(chosen);
    if (!next) return;
    chosen = { model: next.model, goal: next.model === "auto" ? next.goal : "" };
    show();
    changed();
  }
  show();
  return { el, value: () => chosen };
}
