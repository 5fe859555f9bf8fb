// @ts-check
// Settings of one conversation: system prompt, temperature, length.

import { emit } from "../shared/bus.js";
import { h } from "../shared/dom.js";
import { dialog } from "../shared/overlay.js";
import { describeError, fieldErrors } from "../shared/problems.js";
import { change } from "./conversations.js";
import * as threads from "./threads.js";

/** Sets fields of the open conversation's settings; a new conversation keeps them until its first question. */
export async function keepSettings(fields) {
  const thread = threads.current;
  // The server merges what it is given and forgets what is null.
  const wanted = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value === "" ? null : value]));
  if (thread.id) await change(thread.id, { settings: wanted });
  else thread.conversation = { ...thread.conversation, settings: clean({ ...thread.conversation.settings, ...wanted }) };
}

const clean = (settings) => Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null && value !== undefined));

export function showSettings() {
  const { settings } = threads.current.conversation;
  const prompt = h("textarea", {
    id: "set-prompt",
    class: "field",
    rows: 6,
    maxlength: 100000,
    placeholder: "You are a careful technical writer…",
  });
  prompt.value = settings.system_prompt ?? "";
  const temperature = h("input", {
    id: "set-temperature",
    class: "field",
    type: "number",
    min: "0",
    max: "2",
    step: "0.1",
    placeholder: "the model's own",
  });
  temperature.value = settings.temperature ?? "";
  const length = h("input", {
    id: "set-length",
    class: "field",
    type: "number",
    min: "1",
    max: "1000000",
    step: "1",
    placeholder: "default",
  });
  length.value = settings.max_output_tokens ?? "";
  const trouble = h("p", { class: "form-error", role: "alert" });

  async function submit(event) {
    event.preventDefault();
    const number = (field) => (field.value === "" ? null : Number(field.value));
    try {
      await keepSettings({ system_prompt: prompt.value.trim(), temperature: number(temperature), max_output_tokens: number(length) });
      box.close();
      emit("settings");
    } catch (problem) {
      trouble.textContent = Object.values(fieldErrors(problem))[0] ?? describeError(problem).text;
    }
  }

  const box = dialog(
    "Conversation settings",
    h(
      "form",
      { onsubmit: submit },
      h("label", { for: "set-prompt" }, "System prompt", h("small", {}, "Said to the model before everything else")),
      prompt,
      h(
        "div",
        { class: "two" },
        h("div", {}, h("label", { for: "set-temperature" }, "Temperature", h("small", {}, "0 is exact, 2 is wild")), temperature),
        h("div", {}, h("label", { for: "set-length" }, "Longest answer", h("small", {}, "in tokens; also bounds the cost")), length),
      ),
      trouble,
      h(
        "footer",
        {},
        h("button", { type: "button", class: "button", onclick: () => box.close() }, "Cancel"),
        h("button", { class: "button primary" }, "Save"),
      ),
    ),
  );
  prompt.focus();
}
