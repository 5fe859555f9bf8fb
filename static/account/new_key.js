// @ts-check
// A new key: what it may, for how long and how much; then the only look at it.

import { post } from "../shared/api.js";
import { copy } from "../shared/clipboard.js";
import { h, icon } from "../shared/dom.js";
import { fieldSet, numberIn } from "../shared/fields.js";
import { dialog } from "../shared/overlay.js";

const SCOPES = {
  chat: "Chat, and all of /v1",
  agents: "Make, change and run agents",
  tasks: "Make, change and run tasks",
  billing: "Read usage and costs",
  read: "Read everything you may read, change nothing",
  approve: "Approve or reject tool calls in your place. A program with this and agents allows its own calls",
};
const DAYS = { "": "Never", 7: "In 7 days", 30: "In 30 days", 90: "In 90 days", 365: "In a year" };

/** Resolves true once a key was made and its dialog closed. */
export async function askKey() {
  const fields = fieldSet();
  const name = h("input", { class: "field", required: true, maxlength: "100", placeholder: "nightly report", autocomplete: "off" });
  const scopes = Object.entries(SCOPES).map(([scope, text]) => {
    const box = h("input", { type: "checkbox", value: scope, checked: scope === "chat" });
    return h("label", { class: "check" }, box, h("span", {}, h("strong", {}, scope), ` ${text}`));
  });
  const ends = h(
    "select",
    { class: "field" },
    Object.entries(DAYS)
      .sort(([a], [b]) => Number(a) - Number(b))
      .map(([days, text]) => h("option", { value: days }, text)),
  );
  const budget = h("input", { class: "field", inputmode: "decimal", placeholder: "your own", autocomplete: "off" });
  const rate = h("input", { class: "field", type: "number", min: "1", step: "1", placeholder: "your own" });
  const make = h("button", { class: "button primary" }, "Make key");
  const group = h("fieldset", { class: "scopes" }, h("legend", {}, "It may"), scopes, fields.watch("scopes", scopes[0].firstChild));

  async function submit(event) {
    event.preventDefault();
    fields.clear();
    make.disabled = true;
    const days = Number(ends.value);
    try {
      box.close(
        await post("auth/api-keys", {
          name: name.value.trim(),
          scopes: scopes
            .map((label) => label.firstChild)
            .filter((one) => one.checked)
            .map((one) => one.value),
          expires_at: days ? new Date(Date.now() + days * 86400000).toISOString() : null,
          monthly_budget_usd: budget.value.trim().replace(/^\$/, "") || null,
          rate_limit: numberIn(rate),
        }),
      );
    } catch (problem) {
      fields.complain(problem);
    } finally {
      make.disabled = false;
    }
  }

  const box = dialog(
    "New API key",
    h(
      "form",
      { class: "form", onsubmit: submit },
      fields.add("name", "Name", name, "What it is for"),
      group,
      h(
        "div",
        { class: "three" },
        fields.add("expires_at", "Ends", ends),
        fields.add("monthly_budget_usd", "Dollars a month", budget),
        fields.add("rate_limit", "Requests a window", rate),
      ),
      fields.general,
      h("footer", {}, h("button", { type: "button", class: "button", onclick: () => box.close() }, "Cancel"), make),
    ),
  );
  name.focus();
  const made = await box.closed;
  if (made) await showKey(made);
  return Boolean(made);
}

function showKey({ key, name, scopes }) {
  const origin = location.origin;
  const button = h("button", { type: "button", class: "button primary", onclick: () => copy(key, button) }, icon("copy", 16), "Copy");
  const samples = scopes.includes("chat") && [
    sample(
      "OpenAI's client",
      `from openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key="${key}")\nprint(client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello"}]))`,
    ),
    sample(
      "Anthropic's client",
      `from anthropic import Anthropic\n\nclient = Anthropic(base_url="${origin}", api_key="${key}")\nprint(client.messages.create(model="auto", max_tokens=500, messages=[{"role": "user", "content": "Hello"}]))`,
    ),
    sample(
      "curl",
      `curl ${origin}/v1/chat/completions \\\n  -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" \\\n  -d '{"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}'`,
    ),
  ];
  const box = dialog(
    `Key “${name}”`,
    h("p", {}, h("strong", {}, "This is the only time it is shown."), " Keep it where your program's secrets are."),
    h("div", { class: "secret" }, h("code", { tabIndex: 0, "aria-label": "The key" }, key), button),
    samples,
    h("footer", {}, h("button", { type: "button", class: "button", onclick: () => box.close() }, "I have kept it")),
  );
  box.el.classList.add("key-dialog");
  button.focus();
  return box.closed;
}

function sample(title, code) {
  const button = h(
    "button",
    { type: "button", class: "button small", "aria-label": `Copy the example: ${title}`, onclick: () => copy(code, button) },
    "Copy",
  );
  return h("section", { class: "sample" }, h("div", { class: "panel-head" }, h("h3", {}, title), button), h("pre", { tabIndex: 0 }, code));
}
