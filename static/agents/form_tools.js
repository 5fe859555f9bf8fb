// @ts-check
// Which tools an agent has, and which of them ask a person first.

import { fill, h } from "../shared/dom.js";

/** The tools that may be given, and those it has although they are gone; `value()` is the API's list. */
export function toolPicker(tools, granted, changed) {
  const gone = granted
    .filter((one) => !tools.some((tool) => tool.name === one.name))
    .map((one) => ({ name: one.name, gone: true, description: "This tool is gone or switched off. Take it out to save." }));
  const rows = [...gone, ...tools].map((tool) =>
    toolRow(
      tool,
      granted.find((one) => one.name === tool.name),
      changed,
    ),
  );
  const search = h("input", { type: "search", class: "field", placeholder: "Search tools", "aria-label": "Search tools" });
  const none = h("p", { class: "hint", hidden: true }, "No tool fits.");
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    for (const one of rows) one.el.hidden = Boolean(wanted) && !one.text.includes(wanted);
    none.hidden = rows.some((one) => !one.el.hidden);
  });
  const list = h(
    "ul",
    { class: "tool-list" },
    rows.map((one) => one.el),
  );
  const el = h(
    "div",
    { role: "group", "aria-label": "Tools", tabIndex: -1 },
    rows.length > 8 && search,
    rows.length ? list : h("p", { class: "hint" }, "There are no tools here yet."),
    none,
  );
  return { el, value: () => rows.flatMap((one) => one.value() ?? []) };
}

function toolRow(tool, grant, changed) {
  const box = h("input", { type: "checkbox", onchange: show });
  box.checked = Boolean(grant);
  const approval = h(
    "select",
    { class: "field", "aria-label": `Approval of ${tool.name}`, onchange: changed },
    h("option", { value: "never" }, "Runs by itself"),
    h("option", { value: "always" }, "Asks each time"),
  );
  approval.value = grant?.approval ?? "never";
  const asks = tool.needs_approval
    ? h("span", { class: "badge warn", title: "This tool waits for a person's word at every call." }, "always asks")
    : approval;
  const place = h("span", { class: "approval" });
  const badges = [
    tool.kind === "http" && h("span", { class: "badge" }, "HTTP"),
    tool.repeatable === false &&
      h(
        "span",
        { class: "badge warn", title: "It changes something elsewhere; a call that may have happened is never repeated." },
        "has effects",
      ),
    tool.gone && h("span", { class: "badge bad" }, "gone"),
  ];
  const el = h(
    "li",
    { class: "tool-row" },
    h(
      "label",
      {},
      box,
      h("span", { class: "tool-what" }, h("strong", {}, tool.name, badges), h("small", {}, firstWords(tool.description))),
    ),
    place,
  );

  function show(event) {
    el.classList.toggle("chosen", box.checked);
    fill(place, box.checked && !tool.gone && asks);
    if (event) changed();
  }
  show();
  return {
    el,
    text: `${tool.name} ${tool.description}`.toLowerCase(),
    value: () => (box.checked ? { name: tool.name, approval: approval.value } : null),
  };
}

/** The first paragraph: what follows is for the model. */
const firstWords = (text) => text.split(/\n\s*\n/)[0].replace(/\s+/g, " ");
