// @ts-check
// A person's message: shown as typed, may be edited into a branch of its own.

import { copy } from "../shared/clipboard.js";
import { fill, h, iconButton, isEnter, isEscape } from "../shared/dom.js";
import { branchSwitch, imagesOf } from "./message_parts.js";
import { ask } from "./threads.js";

export function questionView(message, options) {
  const el = h("article", { class: "message question", "aria-label": "You", data: { id: message.id } });
  const show = () => {
    el.dataset.id = message.id;
    const copyButton = iconButton("copy", "Copy", () => copy(message.content, copyButton), { size: 15 });
    fill(
      el,
      h("div", { class: "bubble" }, imagesOf(message.parts), h("div", { class: "plain" }, message.content)),
      h(
        "div",
        { class: "tools" },
        branchSwitch(message),
        !message.local && iconButton("pencil", "Edit this question", edit, { size: 15 }),
        copyButton,
      ),
    );
  };

  function edit() {
    const field = h("textarea", {
      class: "field",
      "aria-label": "Edit your question",
      rows: Math.min(12, message.content.split("\n").length + 1),
    });
    field.value = message.content;
    const submit = () => {
      const text = field.value.trim();
      if (!text || text === message.content) return show();
      const images = message.parts.filter((part) => part.type === "image");
      ask(images.length ? [...images, { type: "text", text }] : text, options(), message).catch(() => {});
    };
    field.addEventListener("keydown", (event) => {
      if (isEscape(event)) show();
      if (isEnter(event) && !event.shiftKey) {
        event.preventDefault();
        submit();
      }
    });
    const buttons = [
      h("button", { type: "button", class: "button", onclick: show }, "Cancel"),
      h("button", { type: "button", class: "button primary", onclick: submit }, "Send"),
    ];
    fill(
      el,
      h(
        "div",
        { class: "edit" },
        imagesOf(message.parts),
        field,
        h("footer", {}, h("small", {}, "The old question stays as another branch."), buttons),
      ),
    );
    field.focus();
  }

  show();
  return { el, update: show };
}
