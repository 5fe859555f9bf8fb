// @ts-check
// A task as it is made and changed: what it asks, whom, when, and how far it may go.

import { get, idempotencyKey, patch, post } from "../shared/api.js";
import { allModels, GOALS } from "../shared/catalogue.js";
import { copy } from "../shared/clipboard.js";
import { fill, h, icon } from "../shared/dom.js";
import { fieldSet, numberIn } from "../shared/fields.js";
import { plainAmount } from "../shared/format.js";
import { notify } from "../shared/notices.js";
import { dialog } from "../shared/overlay.js";
import { profile } from "../shared/profile.js";
import { section } from "../shared/section.js";
import { scheduleControls } from "./schedule.js";

const NEW = {
  name: "",
  description: "",
  agent_id: null,
  input: "",
  system_prompt: "",
  model: "auto",
  goal: "",
  schedule: { type: "interval", every_seconds: 3600 },
  max_retries: 2,
  retry_seconds: 30,
  max_seconds: 300,
  max_cost_usd: null,
  monthly_budget_usd: null,
  webhook_url: "",
};

export function formView({ go, title }) {
  const place = h("div", { class: "stack" });
  const el = h("div", { class: "stack" }, place);
  const load = section(place, ({ task, agents }) => draw(task, agents));

  async function both(id) {
    const [task, agents] = await Promise.all([
      id ? get(`tasks/${id}`) : NEW,
      get("agents/", { page_size: 100 }).catch(() => ({ results: [] })),
    ]);
    return { task, agents: agents.results };
  }

  function draw(task, agents) {
    title(task.id ? `Edit ${task.name}` : "New task");
    const crumbs = h(
      "nav",
      { class: "crumbs", "aria-label": "Where you are" },
      h("a", { href: "/tasks" }, "Tasks"),
      " / ",
      task.id ? [h("a", { href: `/tasks/${task.id}` }, task.name), " / Edit"] : "New",
    );
    fill(place, crumbs, taskForm(task, agents, go));
    place.querySelector("input")?.focus({ preventScroll: true });
  }

  return {
    el,
    show([id]) {
      fill(place); // never the form of another task, not even for a moment
      return load(() => both(id));
    },
  };
}

const text = (value, props) => Object.assign(h("input", { class: "field", autocomplete: "off", ...props }), { value: value ?? "" });
const area = (value, props) => Object.assign(h("textarea", { class: "field", ...props }), { value: value ?? "" });
const whole = (value, max, min = "1") => text(value, { type: "number", min, max: String(max), step: "1", required: true });
const amount = (value) => text(plainAmount(value), { inputmode: "decimal", placeholder: "no limit" });
const money = (field) => field.value.trim().replace(/^\$\s*/, "") || null;
const panel = (name, ...children) =>
  h(
    "section",
    { class: "panel", "aria-label": name },
    h("div", { class: "panel-head" }, h("h2", {}, name)),
    h("div", { class: "form" }, children),
  );

function taskForm(task, agents, go) {
  const fields = fieldSet();
  const c = {
    name: text(task.name, { maxlength: "100", required: true }),
    description: text(task.description, { maxlength: "2000" }),
    input: area(task.input, { rows: 6, maxlength: "200000", required: true, placeholder: "Summarise what changed since {date}…" }),
    system: area(task.system_prompt, { rows: 3, maxlength: "100000" }),
    retries: whole(task.max_retries, 10, "0"),
    pause: whole(task.retry_seconds, 3600),
    seconds: whole(task.max_seconds, 86400),
    cost: amount(task.max_cost_usd),
    month: amount(task.monthly_budget_usd),
    hook: text(task.webhook_url, { type: "url", maxlength: "500", placeholder: "https://…" }),
  };
  const who = asker(task, agents);
  const when = scheduleControls(task.schedule, profile?.preferences?.time_zone ?? "UTC", fields);
  const own = h(
    "div",
    { class: "form" },
    fields.add("system_prompt", "System prompt", c.system, "Said to the model before everything else"),
  );
  const turn = () => (own.hidden = Boolean(who.agent()));
  who.el.addEventListener("change", turn);
  turn();
  const save = h("button", { class: "button primary" }, task.id ? "Save" : "Make task");

  const value = () => ({
    name: c.name.value.trim(),
    description: c.description.value.trim(),
    input: c.input.value,
    ...(who.agent() ? { agent_id: who.agent() } : { agent_id: null, ...who.model(), system_prompt: c.system.value }),
    schedule: when.value(),
    max_retries: numberIn(c.retries),
    retry_seconds: numberIn(c.pause),
    max_seconds: numberIn(c.seconds),
    max_cost_usd: money(c.cost),
    monthly_budget_usd: money(c.month),
    webhook_url: c.hook.value.trim(),
  });

  async function submit(event) {
    event.preventDefault();
    fields.clear();
    save.disabled = true;
    try {
      const saved = task.id
        ? await patch(`tasks/${task.id}`, value())
        : await post("tasks/", value(), { headers: { "Idempotency-Key": idempotencyKey() } });
      notify("Saved");
      if (saved.webhook_secret) await showSecret(saved.webhook_secret);
      go(`/tasks/${saved.id}`);
    } catch (problem) {
      fields.complain(problem);
    } finally {
      save.disabled = false;
    }
  }

  return h(
    "form",
    { class: "stack", novalidate: true, onsubmit: submit },
    panel(
      "What it asks",
      h("div", { class: "two" }, fields.add("name", "Name", c.name), fields.add("description", "Description", c.description)),
      fields.add("agent_id", "Who answers", who.el),
      fields.watch("model", who.el),
      fields.add("input", "Prompt", c.input, "{date}, {time} and {weekday} are filled in"),
      own,
    ),
    panel("When", when.el),
    panel(
      "How far it may go",
      h(
        "div",
        { class: "three" },
        fields.add("max_cost_usd", "Cost limit", c.cost, "US dollars of one run"),
        fields.add("monthly_budget_usd", "Monthly budget", c.month, "US dollars of all runs"),
        fields.add("max_seconds", "Time limit", c.seconds, "seconds of one try"),
      ),
      h(
        "div",
        { class: "three" },
        fields.add("max_retries", "Retries", c.retries, "after a failure that may pass"),
        fields.add("retry_seconds", "First pause", c.pause, "seconds; doubled each time"),
      ),
    ),
    panel("Who is told", fields.add("webhook_url", "Webhook", c.hook, "Gets each run's end, signed (standardwebhooks.com)")),
    fields.general,
    h("div", { class: "save-bar" }, h("a", { class: "button", href: task.id ? `/tasks/${task.id}` : "/tasks" }, "Cancel"), save),
  );
}

/** Automatic, a model, or an agent. */
function asker(task, agents) {
  const now = task.agent_id ? `agent ${task.agent_id}` : task.model === "auto" && task.goal ? `auto:${task.goal}` : task.model;
  const goals = [
    ["auto", "Automatic, as you prefer"],
    ...Object.entries(GOALS).map(([id, [name]]) => [`auto:${id}`, `Automatic: ${name.toLowerCase()}`]),
  ];
  const group = (label, options) =>
    options.length > 0 &&
    h(
      "optgroup",
      { label },
      options.map(([id, name]) => h("option", { value: id, selected: id === now }, name)),
    );
  const known = new Set([...goals.map(([id]) => id), ...allModels().map((one) => one.id), ...agents.map((one) => `agent ${one.id}`)]);
  const el = h(
    "select",
    { class: "field" },
    !known.has(now) && h("option", { value: now, selected: true }, task.agent_id ? "An agent that is gone" : now),
    group("Automatic", goals),
    group(
      "Agents",
      agents.map((one) => [`agent ${one.id}`, one.mine ? one.name : `${one.name}, by ${one.owner}`]),
    ),
    group(
      "Models",
      allModels().map((one) => [one.id, one.name]),
    ),
  );
  return { el, agent: () => (el.value.startsWith("agent ") ? el.value.slice(6) : null), model: () => ({ model: el.value, goal: "" }) };
}

function showSecret(secret) {
  const button = h("button", { type: "button", class: "button primary", onclick: () => copy(secret, button) }, icon("copy", 16), "Copy");
  const box = dialog(
    "Signing secret",
    h("p", {}, h("strong", {}, "This is the only time it is shown."), " Your receiver checks the signature with it."),
    h("div", { class: "secret" }, h("code", { tabIndex: 0 }, secret), button),
    h("footer", {}, h("button", { type: "button", class: "button", onclick: () => box.close() }, "I have kept it")),
  );
  return box.closed;
}
