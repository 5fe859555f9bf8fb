// Small helpers to build the page without ever parsing a string as HTML.

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

/** One of the icons below, drawn with the text's colour. */
export function icon(name, size = 18) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true", class: `icon icon-${name}` }))
    svg.setAttribute(key, value);
  for (const d of PATHS[name] ?? []) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** A button that shows an icon and is named for those who cannot see it. */
export function iconButton(name, label, onclick, props = {}) {
  return h("button", { type: "button", ...props, class: `icon-button ${props.class ?? ""}`, "aria-label": label, title: label, onclick }, icon(name, props.size ?? 18));
}

/** Whether the key is an Enter of its own. The one that ends an input method's word must not send: Safari reports it after the composition, as key code 229. */
export const isEnter = (event) => event.key === "Enter" && !event.isComposing && event.keyCode !== 229;

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

// 24 × 24, stroked; drawn for this page.
const PATHS = {
  plus: ["M12 5v14", "M5 12h14"],
  compose: ["M12 20h8", "M16.5 4.5a2.1 2.1 0 0 1 3 3L8 19l-4 1 1-4z"],
  search: ["M11 4a7 7 0 1 0 0 14a7 7 0 1 0 0-14", "M16 16l4.5 4.5"],
  menu: ["M4 7h16", "M4 12h16", "M4 17h16"],
  sidebar: ["M5 4h14a1.5 1.5 0 0 1 1.5 1.5v13a1.5 1.5 0 0 1-1.5 1.5H5a1.5 1.5 0 0 1-1.5-1.5v-13A1.5 1.5 0 0 1 5 4z", "M9.5 4v16"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  more: ["M5.5 12h.01", "M12 12h.01", "M18.5 12h.01"],
  pin: ["M9 4h6l-1 6 3.5 3.5v1.5h-11V13.5L10 10z", "M12 15v5.5"],
  archive: ["M4 8h16v11a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1z", "M3 4h18v4H3z", "M10 12h4"],
  pencil: ["M16.5 4.5a2.1 2.1 0 0 1 3 3L8 19l-4 1 1-4z"],
  trash: ["M4 7h16", "M9 7V4h6v3", "M6 7l1 13h10l1-13", "M10 11v5", "M14 11v5"],
  send: ["M12 19V5", "M5.5 11.5L12 5l6.5 6.5"],
  stop: ["M7.5 7.5h9v9h-9z"],
  image: ["M4 5h16v14H4z", "M8.5 9.5h.01", "M4 16l4.5-4.5L13 16l3-3 4 4"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  up: ["M7 11v9H4v-9z", "M7 11l4-7.5a2 2 0 0 1 2 2V9h5.5a1.5 1.5 0 0 1 1.5 1.8l-1.4 7.7a2 2 0 0 1-2 1.5H7"],
  down: ["M17 13V4h3v9z", "M17 13l-4 7.5a2 2 0 0 1-2-2V15H5.5A1.5 1.5 0 0 1 4 13.2l1.4-7.7a2 2 0 0 1 2-1.5H17"],
  retry: ["M4 12a8 8 0 0 1 14-5.3L20 9", "M20 4v5h-5", "M20 12a8 8 0 0 1-14 5.3L4 15", "M4 20v-5h5"],
  left: ["M14.5 6l-6 6 6 6"],
  right: ["M9.5 6l6 6-6 6"],
  chevron: ["M6.5 9.5l5.5 5.5 5.5-5.5"],
  route: ["M6 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4", "M18 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4", "M8 17h7.5a3 3 0 0 0 0-6h-7a3 3 0 0 1 0-6H16"],
  sliders: ["M4 8h9", "M17 8h3", "M15 6v4", "M4 16h3", "M11 16h9", "M9 14v4"],
  user: ["M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8", "M4.5 20c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5"],
  leave: ["M14 4H5v16h9", "M10 12h10", "M16.5 8.5L20 12l-3.5 3.5"],
  sun: ["M12 8a4 4 0 1 0 0 8 4 4 0 1 0 0-8", "M12 2.5v2", "M12 19.5v2", "M2.5 12h2", "M19.5 12h2", "M5.3 5.3l1.4 1.4", "M17.3 17.3l1.4 1.4", "M18.7 5.3l-1.4 1.4", "M6.7 17.3l-1.4 1.4"],
  moon: ["M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z"],
  wrench: ["M14.5 6.5a4 4 0 0 1 5-2l-3 3 .5 2 2 .5 3-3a4 4 0 0 1-5.500 5L9 19.500a2.100 2.100 0 0 1-3-3l7.500-7.500a4 4 0 0 1 1-2.500z"],
  thought: ["M9 18h6", "M10 21h4", "M8.500 15.500A6.500 6.500 0 1 1 15.500 15.500L15 18H9z"],
  alert: ["M12 4l9 16H3z", "M12 10v4.500", "M12 17.300h.01"],
  book: ["M5 4h12a2 2 0 0 1 2 2v14H7a2 2 0 0 1-2-2z", "M5 18a2 2 0 0 1 2-2h12"],
  shield: ["M12 3l8 3v5.500c0 4.500-3.200 8-8 9.500-4.800-1.500-8-5-8-9.500V6z"],
  spark: ["M12 3.500l2 6.500 6.500 2-6.500 2-2 6.500-2-6.500-6.500-2 6.500-2z"],
  chart: ["M4 4v16h16", "M8.500 16v-5", "M13 16V7", "M17.500 16v-7"],
  bell: ["M6 16V11a6 6 0 0 1 12 0v5l1.500 2h-15z", "M10 20.500a2.200 2.200 0 0 0 4 0"],
  robot: ["M6 9h12a1.500 1.500 0 0 1 1.500 1.500v8A1.500 1.500 0 0 1 18 20H6a1.500 1.500 0 0 1-1.500-1.500v-8A1.500 1.500 0 0 1 6 9z", "M12 9V5", "M12 4.500h.01", "M9 13.500v1.5", "M15 13.500v1.5"],
  clock: ["M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16", "M12 8v4.500l3 1.8"],
  key: ["M8 11a4 4 0 1 0 0 8 4 4 0 0 0 0-8", "M11 12L20 3.5", "M16.500 7l2.500 2.5", "M14 9.500l2 2"],
  play: ["M8 5.500v13l10.500-6.500z"],
  pause: ["M9 6v12", "M15 6v12"],
  download: ["M12 4v11", "M7 11l5 5 5-5", "M4 20h16"],
  link: ["M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1", "M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1"],
};
