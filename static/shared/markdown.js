// @ts-check
// A model's Markdown as DOM nodes. The text is data: no HTML of its own, no address fetched, sanitised last.

import DOMPurify from "../vendor/dompurify/purify.js";
import hljs from "../vendor/highlight/highlight.js";
import markdownIt from "../vendor/markdown-it/markdown-it.js";
import { emit } from "./bus.js";
import { decorate } from "./markdown_elements.js";
import { mathRule } from "./math_rule.js";

// Above this many characters a block is shown without colours: highlighting is not linear.
const HIGHLIGHT_LIMIT = 60000;

const md = markdownIt({ html: false, linkify: true, breaks: false, typographer: false, highlight });
md.validateLink = (url) => /^(https?:|mailto:)/i.test(url) || DATA_IMAGE.test(url);
const DATA_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,/i;
mathRule(md, () => emit("markdown-ready"));

// Alignment without a style attribute, which the page's policy refuses.
for (const name of ["th_open", "td_open"])
  md.renderer.rules[name] = (tokens, index, options, env, self) => {
    const token = tokens[index];
    const align = /text-align:(left|center|right)/.exec(token.attrGet("style") ?? "")?.[1];
    token.attrs = align ? [["class", `align-${align}`]] : null;
    return self.renderToken(tokens, index, options);
  };

function highlight(code, info) {
  const language = info.trim().split(/\s+/)[0].toLowerCase();
  if (!hljs.getLanguage(language) || code.length > HIGHLIGHT_LIMIT) return "";
  return hljs.highlight(code, { language, ignoreIllegals: true }).value;
}

const CLEAN = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true, mathMl: true },
  ADD_TAGS: ["semantics", "annotation"],
  FORBID_TAGS: [
    "style",
    "form",
    "input",
    "button",
    "textarea",
    "select",
    "option",
    "iframe",
    "video",
    "audio",
    "source",
    "track",
    "svg",
    "template",
  ],
  FORBID_ATTR: ["style", "id", "name", "srcset", "action", "background", "poster"],
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|data:image\/(?:png|jpeg|gif|webp);base64,)/i,
};

/** The block tokens of a source, and the environment its references live in. */
export function parseMarkdown(source) {
  const env = {};
  return { tokens: md.parse(source, env), env };
}

/** A fragment that is safe to insert. */
export function renderTokens({ tokens, env }) {
  const fragment = DOMPurify.sanitize(md.renderer.render(tokens, md.options, env), CLEAN);
  decorate(fragment);
  return fragment;
}

export const renderMarkdown = (source) => renderTokens(parseMarkdown(source));
