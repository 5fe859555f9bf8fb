// @ts-check
// The controls of an agent's form, and what they say.

import { h, icon } from "../shared/dom.js";
import { fieldSet, numberIn } from "../shared/fields.js";
import { plainAmount } from "../shared/format.js";
import { chooseModel } from "../shared/model_picker.js";
import { toolPicker } from "./form_tools.js";
import { modelLabel } from "./labels.js";

const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
const OWN = "the model's own";

/** `value()` is the agent as the API takes it, `month()` its monthly limit; `unreadable()` names what cannot be sent. */
export function agentControls(agent, tools, budget, changed) {
  const fields = fieldSet();
  const control = (tag, value, props) =>
    Object.assign(h(tag, { class: "field", autocomplete: "off", oninput: changed, ...props }), { value: value ?? "" });
  const number = (value, props) => control("input", value, { type: "number", step: "1", ...props });
  const amount = (value) => control("input", plainAmount(value), { inputmode: "decimal", placeholder: "no limit" });
  const select = (value, options) =>
    Object.assign(
      h(
        "select",
        { class: "field", onchange: changed },
        options.map(([key, text]) => h("option", { value: key }, text)),
      ),
      { value },
    );
  const { temperature, max_output_tokens: length, reasoning_effort: effort, ...others } = agent.parameters;

  const all = {
    name: control("input", agent.name, { maxlength: "100" }),
    slug: control("input", agent.slug, { maxlength: "60", placeholder: "made from the name", spellcheck: "false" }),
    description: control("textarea", agent.description, { rows: 2, maxlength: "2000" }),
    visibility: select(agent.visibility, [
      ["private", "Private: only you"],
      ["shared", "Shared: everybody may see and run it"],
    ]),
    system_prompt: control("textarea", agent.system_prompt, {
      rows: 9,
      maxlength: "100000",
      placeholder: "You are a careful accountant. Calculate, do not guess…",
    }),
    temperature: number(temperature, { min: "0", max: "2", step: "0.1", placeholder: OWN }),
    max_output_tokens: number(length, { min: "1", placeholder: OWN }),
    reasoning_effort: select(effort ?? "", [["", OWN], ...EFFORTS.map((one) => [one, one])]),
    max_steps: number(agent.max_steps, { min: "1" }),
    max_cost_usd: amount(agent.max_cost_usd),
    max_seconds: number(agent.max_seconds, { min: "1" }),
    month: amount(budget),
  };
  const model = modelField(agent, changed);
  const toolList = toolPicker(tools, agent.tools, () => changed());

  const money = (field) => field.value.trim().replace(/^\$\s*/, "") || null;
  const parameters = () => {
    const said = {
      ...others,
      temperature: numberIn(all.temperature),
      max_output_tokens: numberIn(all.max_output_tokens),
      reasoning_effort: all.reasoning_effort.value,
    };
    return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null && value !== ""));
  };
  const value = () => ({
    name: all.name.value.trim(),
    slug: all.slug.value.trim() || undefined,
    description: all.description.value.trim(),
    visibility: all.visibility.value,
    system_prompt: all.system_prompt.value,
    ...model.value(),
    parameters: parameters(),
    tools: toolList.value(),
    max_steps: numberIn(all.max_steps),
    max_cost_usd: money(all.max_cost_usd),
    max_seconds: numberIn(all.max_seconds),
  });

  /** What no number can be made of must not reach the API as "not given". */
  function unreadable() {
    const found = all.name.value.trim() ? {} : { name: "An agent needs a name." };
    for (const name of ["max_steps", "max_seconds"]) if (!numberIn(all[name])) found[name] = "A number above 0.";
    for (const name of ["temperature", "max_output_tokens"])
      if (Number.isNaN(numberIn(all[name]))) found[`parameters.${name}`] = "A number.";
    return found;
  }

  const also = Object.entries(others).map(([name, said]) => `${name} ${JSON.stringify(said)}`);
  const panels = [
    panel(
      "What it is",
      h(
        "div",
        { class: "two" },
        fields.add("name", "Name", all.name, "As people see it"),
        fields.add("slug", "Name for programs", all.slug, "model: “agent:…” in OpenAI and Anthropic clients"),
      ),
      fields.add("description", "Description", all.description, "Tells people what it is good for; the model does not see it"),
      fields.add("visibility", "Visibility", all.visibility),
    ),
    panel(
      "What it is told",
      fields.add("system_prompt", "System prompt", all.system_prompt, "Said to the model before everything else"),
      fields.add("model", "Model", model.el),
      h(
        "div",
        { class: "three" },
        fields.add("parameters.temperature", "Temperature", all.temperature, "0 is exact, 2 is wild"),
        fields.add("parameters.max_output_tokens", "Longest answer", all.max_output_tokens, "in tokens, of each model call"),
        fields.add("parameters.reasoning_effort", "Reasoning effort", all.reasoning_effort, "of models that think"),
      ),
      also.length > 0 && h("p", { class: "hint" }, `Also set: ${also.join(", ")}`),
    ),
    panel("What it may use", toolList.el, fields.watch("tools", toolList.el)),
    panel(
      "How far it may go",
      h(
        "div",
        { class: "three" },
        fields.add("max_steps", "Step limit", all.max_steps, "model calls of one run"),
        fields.add("max_cost_usd", "Cost limit", all.max_cost_usd, "US dollars per run"),
        fields.add("max_seconds", "Time limit", all.max_seconds, "seconds per run, without waiting for people"),
      ),
      budget !== undefined &&
        h("div", { class: "three" }, fields.add("budget", "Monthly budget", all.month, "US dollars, over all its runs and chats")),
    ),
  ];
  return { fields, panels, value, unreadable, month: () => money(all.month), focus: () => all.name.focus() };
}

const panel = (title, ...children) =>
  h(
    "section",
    { class: "panel", "aria-label": title },
    h("div", { class: "panel-head" }, h("h2", {}, title)),
    h("div", { class: "form" }, children),
  );

/** A button that shows the model and opens the page's list of them. */
function modelField({ model, goal }, changed) {
  let chosen = model.startsWith("auto:") ? { model: "auto", goal: model.slice(5) } : { model, goal };
  const label = h("span", {});
  const el = h(
    "button",
    { type: "button", class: "field model-field", "aria-haspopup": "dialog", onclick: ask },
    label,
    icon("chevron", 15),
  );
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
