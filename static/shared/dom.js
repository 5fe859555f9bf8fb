// @ts-check
// Small helpers to build the page without ever parsing a string as HTML.

import { ICONS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (`on…` listeners, `class`, `data`, attributes) and children; null children are skipped. */
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "class") el.className = value;
    else if (name === "data") Object.assign(el.dataset, value);
    else if (name in el && typeof value !== "string" && !name.startsWith("aria")) el[name] = value;
    else el.setAttribute(name, value === true ? "" : value);
  }
  add(el, children);
  return el;
}

export function add(el, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    el.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return el;
}

export const fill = (el, ...children) => {
  el.replaceChildren();
  return add(el, children);
};

/** One of the icons of icons.js, drawn with the text's colour. */
export function icon(name, size = 18) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 24 24",
    width: String(size),
    height: String(size),
    "aria-hidden": "true",
    class: `icon icon-${name}`,
  }))
    svg.setAttribute(key, value);
  for (const d of ICONS[name] ?? []) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** A button that shows an icon and is named for those who cannot see it. */
export function iconButton(name, label, onclick, props = {}) {
  return h(
    "button",
    { type: "button", ...props, class: `icon-button ${props.class ?? ""}`, "aria-label": label, title: label, onclick },
    icon(name, props.size ?? 18),
  );
}

/** Whether an input method takes the key, e.g. to end or to cancel a word. Safari reports it after the composition, as key code 229. */
const isComposing = (event) => event.isComposing || event.keyCode === 229;

export const isEnter = (event) => event.key === "Enter" && !isComposing(event);

export const isEscape = (event) => event.key === "Escape" && !isComposing(event);

/** Calls `work` at most once per animation frame; `now()` runs it at once if it is due. */
export function perFrame(work) {
  let due = 0;
  const run = () => {
    due = 0;
    work();
  };
  const ask = () => {
    due ||= requestAnimationFrame(run);
  };
  ask.now = () => {
    if (due) cancelAnimationFrame(due);
    run();
  };
  return ask;
}

export function debounce(work, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), milliseconds);
  };
}
