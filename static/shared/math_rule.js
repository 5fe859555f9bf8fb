// @ts-check
// $…$, $$…$$, \(…\) and \[…\] for markdown-it; KaTeX draws them as MathML once it is loaded.

let katex = null;
let loading = null;

/** Loads KaTeX when the first formula is seen; `then` draws again. */
function want(then) {
  loading ??= import("../vendor/katex/katex.js").then(() => {
    katex = globalThis.katex;
  });
  loading.then(then, () => {});
}

export function mathRule(md, whenReady) {
  md.inline.ruler.before("escape", "math", inline);
  md.block.ruler.before("fence", "math", block, { alt: ["paragraph", "reference", "blockquote", "list"] });
  const draw = (tokens, index) => {
    const { content, block: display } = tokens[index];
    if (!katex) {
      want(whenReady);
      return `<code>${md.utils.escapeHtml(content)}</code>`;
    }
    try {
      const html = katex.renderToString(content, {
        output: "mathml",
        displayMode: display,
        throwOnError: true,
        trust: false,
        strict: "ignore",
        maxExpand: 200,
        maxSize: 20,
      });
      // The policy refuses style attributes as soon as a parser sees them. KaTeX escapes quotes in all that is said.
      return html.replace(/ style="[^"]*"/g, "");
    } catch {
      return `<code>${md.utils.escapeHtml(content)}</code>`;
    }
  };
  md.renderer.rules.math_inline = draw;
  md.renderer.rules.math_block = (tokens, index) => `<div class="math">${draw(tokens, index)}</div>`;
}

const NONE = -1; // there is no closing mark
const BROKEN = -2; // code or a link comes before it, so that this is no formula

// What was found out about the text of one state of the parser, so that no part of it is read once for each opening mark.
const memories = new WeakMap();

function memory(state, name) {
  if (!memories.has(state)) memories.set(state, new Map());
  const known = memories.get(state);
  if (!known.has(name)) known.set(name, { from: 0, until: NONE, first: 0, firstFrom: Infinity });
  return known.get(name);
}

/** Where the first `close` stands from `from` on; a look that went past `from` already is not repeated. */
function firstClose(text, from, close, known) {
  if (from < known.firstFrom || (known.first >= 0 && from > known.first)) {
    known.first = text.indexOf(close, from);
    known.firstFrom = from;
  }
  return known.first;
}

/** @type {(at: number) => boolean} */
const NO_LINK = () => false;
/** @type {(at: number) => void} */
const IGNORE = () => {};

/** Where `close` stands in `text` between `from` and `to`, outside of code and links. `isLink(at)`: whether one begins at this bracket; `failed(at)` hears where the look ended. */
function closing(text, from, to, close, isLink = NO_LINK, failed = IGNORE) {
  let open = 0;
  const broken = (at) => {
    failed(at);
    return BROKEN;
  };
  for (let at = from; at + close.length <= to; at += 1) {
    if (text.startsWith(close, at)) return at;
    const character = text[at];
    if (character === "\\") at += 1;
    else if (character === "`") {
      const ticks = /^`+/.exec(text.slice(at, to))[0];
      const end = codeEnd(text, at + ticks.length, to, ticks);
      if (end > at) return broken(at);
      at += ticks.length - 1;
    } else if (character === "[") {
      if (isLink(at)) return broken(at);
      open += 1;
    } else if (character === "]") {
      // The formula would reach out of the words of a link.
      if (!open && "([".includes(text[at + 1] ?? " ")) return broken(at);
      open = Math.max(0, open - 1);
    } else if (
      (character === "<" && AUTOLINK.test(text.slice(at, to))) ||
      ("hHwWmM".includes(character) && ADDRESS.test(text.slice(at, at + 8)))
    )
      return broken(at);
  }
  failed(to);
  return NONE;
}

const AUTOLINK = /^<(?:[a-z][a-z0-9+.-]{1,31}:[^\s<>]*|[^\s<>@]+@[^\s<>@]+)>/i;
const ADDRESS = /^(?:https?:\/\/|www\.|mailto:)/i;

/** Behind the run of backticks that ends a code span, -1 where none does. */
function codeEnd(text, from, to, ticks) {
  for (let at = text.indexOf(ticks, from); at >= 0 && at < to; at = text.indexOf(ticks, at)) {
    let end = at;
    while (text[end] === "`") end += 1;
    if (end - at === ticks.length && end <= to) return end;
    at = end;
  }
  return -1;
}

/** Whether a link begins at the bracket at `at`, by markdown-it's own rules. */
function linkAt(state, at) {
  const was = state.pos;
  state.pos = at;
  state.md.inline.skipToken(state);
  const length = state.pos - at;
  state.pos = was;
  return length > 1;
}

function inline(state, silent) {
  const { src, pos } = state;
  const open = src.startsWith("\\(", pos)
    ? "\\("
    : src.startsWith("\\[", pos)
      ? "\\["
      : src[pos] === "$"
        ? src[pos + 1] === "$"
          ? "$$"
          : "$"
        : "";
  if (!open) return false;
  const close = { "\\(": "\\)", "\\[": "\\]" }[open] ?? open;
  const start = pos + open.length;
  const known = memory(state, `${close} ${state.posMax}`);
  const first = firstClose(src, start, close, known);
  if (first < 0 || first + close.length > state.posMax) return false;
  // What stopped the look from an earlier mark stops this one too: no closing mark stands between.
  if (start >= known.from && start <= known.until) return false;
  const fail = (at) => Object.assign(known, { from: start, until: at });
  const end = closing(src, start, state.posMax, close, (at) => linkAt(state, at), fail);
  if (end <= start) return false;
  const content = src.slice(start, end);
  if (open === "$" && !isFormula(src[pos - 1] ?? "", content, src.slice(end + 1, end + 5))) return false;
  if (!silent) {
    const token = state.push("math_inline", "math", 0);
    token.content = content.trim();
    token.block = open === "$$" || open === "\\[";
  }
  state.pos = end + close.length;
  return true;
}

/** Whether the text between two dollar signs is a formula, and not what stands between two prices or two shell variables. */
function isFormula(before, content, after) {
  if (/^\s|\s$|\n/.test(content)) return false;
  // "US$5", "foo$|bar$"; a letter of Chinese or Japanese text may stand beside a formula.
  if (/[A-Za-z0-9_]/.test(before)) return false;
  // "$5 and $10", "$HOME/bin:$PATH"; but "the $n$th".
  if (/^[A-Za-z0-9_]/.test(after) && !/^(?:st|nd|rd|th|s)(?![A-Za-z0-9_])/.test(after)) return false;
  // "${HOME}/bin:${PATH}", "$(id):$(pwd)".
  if (/^[{(]/.test(content) && content[0] === after[0]) return false;
  // "$50 a month, once 60$".
  if (/^[\d.,]+[kMB]?\s*\(?[A-Za-z]{2,}/.test(content)) return false;
  return isBalanced(content);
}

/** Whether each brace is closed, as TeX needs it: "$1}' | sed 's/$/x/'" is no formula. */
function isBalanced(content) {
  let open = 0;
  for (let at = 0; at < content.length && open >= 0; at += 1) {
    if (content[at] === "\\") at += 1;
    else if (content[at] === "{") open += 1;
    else if (content[at] === "}") open -= 1;
  }
  return open === 0;
}

function block(state, first, last, silent) {
  const line = (n) => state.src.slice(state.bMarks[n] + state.tShift[n], state.eMarks[n]);
  const text = line(first);
  const open = text.startsWith("$$") ? "$$" : text.startsWith("\\[") ? "\\[" : "";
  if (!open) return false;
  const close = open === "$$" ? "$$" : "\\]";
  const known = memory(state, `${close} ${last} ${state.blkIndent}`);
  // A block that began above and met no end before line `until` says that this one meets none either.
  if (first >= known.from && first < known.until) return false;
  const lines = [];
  let n = first;
  const fail = () => {
    if (n > first) Object.assign(known, { from: first, until: n });
    return false;
  };
  for (let rest = text.slice(2); ; rest = line(n)) {
    const end = rest.includes(close) ? closing(rest, 0, rest.length, close) : NONE;
    if (end === BROKEN || (end >= 0 && rest.slice(end + 2).trim())) return fail();
    lines.push(end < 0 ? rest : rest.slice(0, end));
    if (end >= 0) break;
    n += 1;
    if (n >= last || isCode(state, n, line(n))) return fail();
  }
  if (silent) return true;
  const token = state.push("math_block", "math", 0);
  token.block = true;
  token.content = lines.join("\n").trim();
  token.map = [first, n + 1];
  state.line = n + 1;
  return true;
}

/** Whether a code block begins in this line: fenced, or indented after an empty line. */
const isCode = (state, n, text) =>
  /^(?:`{3,}|~{3,})/.test(text) || (text && state.isEmpty(n - 1) && state.sCount[n] - state.blkIndent >= 4);
