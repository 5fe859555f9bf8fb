// @ts-check
// Where questions are written. Each conversation keeps its own draft.

import { on } from "../shared/bus.js";
import { h, iconButton, isEnter } from "../shared/dom.js";
import { attachments } from "./attachments.js";
import * as threads from "./threads.js";
import { cancel, running } from "./turns.js";

/** `requestOptions()` gives model and settings; `extras` are shown beside the attach button. */
export function composer(requestOptions, extras) {
  const drafts = new Map(); // thread -> {text, items}
  const files = attachments(() => refresh());
  const field = h("textarea", {
    rows: 1,
    placeholder: "Ask anything",
    "aria-label": "Your message",
    enterkeyhint: "send",
    maxlength: 400000,
  });
  const sendButton = iconButton("send", "Send", submit, { class: "send" });
  const stopButton = iconButton("stop", "Stop writing", stop, { class: "send stop" });
  const el = h(
    "form",
    { class: "composer", "aria-label": "New message", onsubmit: (event) => (event.preventDefault(), submit()) },
    files.el,
    field,
    h("div", { class: "composer-row" }, files.button, files.picker, extras, h("span", { class: "spring" }), stopButton, sendButton),
  );
  let shown = null;
  let sending = false;
  let entered = false; // the person's preferences, which say who answers, are known
  let waiting = null; // the thread whose question waits for them

  const answer = () => threads.current.messages.findLast(running);

  function refresh() {
    field.style.setProperty("height", "auto");
    field.style.setProperty("height", `${Math.min(field.scrollHeight, Math.max(120, innerHeight * 0.4))}px`);
    const busy = Boolean(answer());
    const empty = !field.value.trim() && !files.count();
    stopButton.hidden = !busy;
    sendButton.hidden = busy;
    sendButton.disabled = empty || sending;
  }

  async function submit() {
    const text = field.value.trim();
    if ((!text && !files.count()) || sending || answer()) return;
    if (!entered) return void (waiting = threads.current);
    waiting = null;
    const items = files.items();
    const content = items.length ? [...files.parts(), ...(text ? [{ type: "text", text }] : [])] : text;
    const thread = threads.current;
    sending = true;
    const asked = threads.ask(content, requestOptions());
    field.value = "";
    files.set([]);
    drafts.delete(thread);
    try {
      await asked;
    } catch {
      // Nothing was stored: the person gets the text back.
      if (threads.current === thread && !field.value) [field.value] = [text];
      else drafts.set(thread, { text, items });
      if (threads.current === thread) files.set(items);
    } finally {
      sending = false;
      refresh();
    }
  }

  function stop() {
    const message = answer();
    if (message && !message.local) cancel(message);
  }

  field.addEventListener("input", refresh);
  field.addEventListener("keydown", (event) => {
    if (!isEnter(event) || event.shiftKey) return;
    event.preventDefault();
    submit();
  });
  field.addEventListener("paste", (event) => {
    const pictures = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
    if (!pictures.length) return;
    event.preventDefault();
    files.take(pictures);
  });
  dropZone(document.body, el, files.take);

  on("thread", (thread) => {
    if (thread !== shown) {
      if (shown) drafts.set(shown, { text: field.value, items: files.items() });
      shown = thread;
      const draft = drafts.get(thread) ?? { text: "", items: [] };
      field.value = draft.text;
      files.set(draft.items);
      if (matchMedia("(hover: hover)").matches) field.focus();
    }
    refresh();
  });
  on("busy", refresh);
  on("turn-ended", refresh);
  on("suggest", (text) => {
    field.value = text;
    refresh();
    field.focus();
  });
  on("entered", () => {
    entered = true;
    if (waiting && waiting === threads.current) submit();
  });
  on("signed-out", () => {
    [entered, waiting] = [false, null];
    drafts.clear();
    field.value = "";
    files.set([]);
  });
  window.addEventListener("resize", refresh);
  refresh();
  return { el, focus: () => field.focus() };
}

function dropZone(area, mark, take) {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  area.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark.classList.add("dropping");
  });
  area.addEventListener("dragleave", (event) => !event.relatedTarget && mark.classList.remove("dropping"));
  area.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark.classList.remove("dropping");
    take(event.dataTransfer.files);
  });
}
