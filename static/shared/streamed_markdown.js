// @ts-check
// Markdown that grows: blocks that can no longer change are drawn once, only the last one is drawn again.

import { on } from "./bus.js";
import { h, perFrame } from "./dom.js";
import { parseMarkdown, renderMarkdown, renderTokens } from "./markdown.js";

on("markdown-ready", () => {
  for (const el of document.querySelectorAll(".markdown")) el.dispatchEvent(new Event("redraw"));
});

/** A view of growing Markdown: `show(text, done)` at every change, cheap to call per token. */
export function streamedMarkdown() {
  const el = h("div", { class: "markdown" });
  let text = "";
  let done = false;
  let settled = 0; // characters of `text` that stand in closed blocks
  let tail = []; // nodes of the part that may still change
  let drawn = null;
  let slowUntil = 0;

  const update = perFrame(() => {
    if (drawn === text && !done) return;
    const started = performance.now();
    if (!done && started < slowUntil) return void setTimeout(update, slowUntil - started);
    done ? whole() : grow();
    drawn = text;
    // A block that takes long to draw is drawn less often, so that typing and scrolling stay smooth.
    const cost = performance.now() - started;
    slowUntil = cost > 6 ? performance.now() + cost * 4 : 0;
    el.dispatchEvent(new CustomEvent("drawn", { bubbles: true }));
  });

  function whole() {
    settled = 0;
    tail = [];
    el.replaceChildren(renderMarkdown(text));
  }

  function grow() {
    const rest = text.slice(settled);
    const parsed = parseMarkdown(rest);
    const cut = boundary(rest, parsed.tokens);
    for (const node of tail) node.remove();
    if (cut.token > 0) {
      el.append(renderTokens({ tokens: parsed.tokens.slice(0, cut.token), env: parsed.env }));
      settled += cut.at;
    }
    const fragment = renderTokens({ tokens: parsed.tokens.slice(cut.token), env: parsed.env });
    tail = [...fragment.childNodes];
    el.append(fragment);
  }

  el.addEventListener("redraw", () => {
    [settled, tail, drawn] = [0, [], null];
    el.replaceChildren();
    update();
  });

  return {
    el,
    show(next, isDone) {
      if (next === text && isDone === done) return;
      if (!next.startsWith(text.slice(0, settled))) {
        settled = 0;
        tail = [];
        el.replaceChildren();
      }
      text = next;
      done = isDone;
      done && !el.isConnected ? update.now() : update();
    },
  };
}

/** Where the last top-level block begins: index of its token, and offset of its first character.
 *
 * What stands before it is closed for good, if the block's first line is complete. */
function boundary(source, tokens) {
  let token = 0;
  let line = 0;
  tokens.forEach((one, index) => {
    if (one.level === 0 && one.map && one.nesting >= 0) [token, line] = [index, one.map[0]];
  });
  let at = 0;
  for (let n = 0; n < line; n += 1) at = source.indexOf("\n", at) + 1;
  return source.indexOf("\n", at) < 0 ? { token: 0, at: 0 } : { token, at };
}
