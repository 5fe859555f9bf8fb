// @ts-check
// The open conversation on the page: its messages, kept at the end while the person is there.

import { emit, on } from "../shared/bus.js";
import { fill, h, icon, iconButton } from "../shared/dom.js";
import { describeError } from "../shared/problems.js";
import { answerView } from "./answer.js";
import { questionView } from "./question.js";
import * as threads from "./threads.js";
import { running } from "./turns.js";
import { welcome } from "./welcome.js";

/** The scrolling list of messages; `requestOptions()` gives the model and settings of a question. */
export function threadView(requestOptions) {
  const list = h("div", { class: "messages" });
  const spoken = h("div", { class: "off-screen", "aria-live": "polite" });
  const toEnd = iconButton("chevron", "To the newest message", () => follow(true), { class: "to-end" });
  toEnd.hidden = true;
  const scroller = h("div", { class: "scroller", tabIndex: -1 }, list);
  const el = h("div", { class: "thread" }, scroller, toEnd, spoken);
  const views = new Map(); // message record -> view
  const options = { request: requestOptions, last: (message) => threads.current.messages.at(-1) === message };
  let shown = null;
  let atEnd = true;

  const jump = () => {
    scroller.scrollTop = scroller.scrollHeight;
  };
  const follow = (now = false) => {
    if (now) atEnd = true;
    if (atEnd) jump();
    toEnd.hidden = atEnd;
  };
  scroller.addEventListener(
    "scroll",
    () => {
      atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
      toEnd.hidden = atEnd;
    },
    { passive: true },
  );
  list.addEventListener("drawn", () => follow());
  // Also when the window becomes smaller or is zoomed.
  new ResizeObserver(() => follow()).observe(scroller);

  function draw(thread) {
    const fresh = thread !== shown;
    if (fresh) {
      for (const view of views.values()) view.end?.();
      views.clear();
      shown = thread;
    }
    if (thread.loading && !thread.messages.length) return fill(list, skeleton());
    if (thread.problem && !thread.messages.length) return fill(list, failure(thread));
    if (!thread.messages.length) return fill(list, welcome());
    reconcile(thread.messages);
    if (fresh) follow(true);
    else follow();
  }

  function reconcile(messages) {
    const wanted = new Set(messages);
    for (const [message, view] of views)
      if (!wanted.has(message)) {
        view.end?.();
        view.el.remove();
        views.delete(message);
      }
    const nodes = messages.map((message) => {
      let view = views.get(message);
      if (view) view.update();
      else {
        view = message.role === "user" ? questionView(message, requestOptions) : answerView(message, options);
        views.set(message, view);
      }
      return view.el;
    });
    // Untouched nodes stay where they are: selection, focus and open folds survive.
    nodes.forEach((node, i) => list.children[i] !== node && list.insertBefore(node, list.children[i] ?? null));
    while (list.children.length > nodes.length) list.lastChild.remove();
  }

  function failure(thread) {
    const { title, text, requestId } = describeError(thread.problem);
    const again = h("button", { type: "button", class: "button", onclick: () => threads.open(thread.id) }, "Try again");
    const gone = thread.problem.type === "not_found" && "It may have been deleted, or it belongs to someone else.";
    return h(
      "div",
      { class: "empty", role: "alert" },
      icon("alert", 26),
      h("h2", {}, title),
      h("p", {}, gone || text),
      requestId && h("p", { class: "request-id" }, `Request ${requestId}`),
      gone ? null : again,
    );
  }

  on("thread", draw);
  on("asked", () => follow(true));
  on("turn-ended", (message) => {
    if (message.conversation_id !== threads.current.id) return;
    // Read out once, when it is whole: token by token nobody can follow.
    spoken.textContent = message.status === "complete" ? `Answer: ${message.content.slice(0, 600)}` : "The answer ended early.";
  });
  on("message", (message) => {
    if (threads.current.messages.includes(message)) emit("busy", threads.current.messages.some(running));
  });
  return { el };
}

const skeleton = () => h("div", { class: "skeleton", "aria-label": "Loading" }, h("i"), h("i"), h("i"), h("i"));
