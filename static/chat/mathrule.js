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
      const html = katex.renderToString(content, { output: "mathml", displayMode: display, throwOnError: true, trust: false, strict: "ignore", maxExpand: 200, maxSize: 20 });
      // The policy refuses style attributes as soon as a parser sees them. KaTeX escapes quotes in all that is said.
      return html.replace(/ style="[^"]*"/g, "");
    } catch {
      return `<code>${md.utils.escapeHtml(content)}</code>`;
    }
  };
  md.renderer.rules.math_inline = draw;
  md.renderer.rules.math_block = (tokens, index) => `<div class="math">${draw(tokens, index)}</div>`;
}

function inline(state, silent) {
  const { src, pos } = state;
  const open = src.startsWith("\\(", pos) ? "\\(" : src.startsWith("\\[", pos) ? "\\[" : src[pos] === "$" ? (src[pos + 1] === "$" ? "$$" : "$") : "";
  if (!open) return false;
  const close = { "\\(": "\\)", "\\[": "\\]" }[open] ?? open;
  const start = pos + open.length;
  const end = src.indexOf(close, start);
  if (end <= start || end > state.posMax) return false;
  const content = src.slice(start, end);
  // "$5 and $10" is money, not a formula.
  if (open === "$" && (/^\s|\s$/.test(content) || /\d/.test(src[end + 1] ?? "") || content.includes("\n"))) return false;
  if (!silent) {
    const token = state.push("math_inline", "math", 0);
    token.content = content.trim();
    token.block = open === "$$" || open === "\\[";
  }
  state.pos = end + close.length;
  return true;
}

function block(state, first, last, silent) {
  const line = (n) => state.src.slice(state.bMarks[n] + state.tShift[n], state.eMarks[n]);
  const text = line(first);
  const open = text.startsWith("$$") ? "$$" : text.startsWith("\\[") ? "\\[" : "";
  if (!open) return false;
  const close = open === "$$" ? "$$" : "\\]";
  const rest = text.slice(2);
  let n = first;
  const lines = [];
  if (rest.includes(close)) {
    if (rest.slice(rest.indexOf(close) + 2).trim()) return false;
    lines.push(rest.slice(0, rest.indexOf(close)));
  } else {
    lines.push(rest);
    for (n = first + 1; n < last && !line(n).includes(close); n += 1) lines.push(line(n));
    if (n >= last) return false;
    lines.push(line(n).slice(0, line(n).indexOf(close)));
  }
  if (silent) return true;
  const token = state.push("math_block", "math", 0);
  token.block = true;
  token.content = lines.join("\n").trim();
  token.map = [first, n + 1];
  state.line = n + 1;
  return true;
}
