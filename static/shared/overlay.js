// @ts-check
// Dialogs and menus, usable by keyboard: <dialog> keeps the focus, Escape closes.

import { add, h, icon, iconButton } from "./dom.js";

/** A modal dialog that removes itself when it is closed; `close(value)` resolves `closed`. */
export function dialog(title, ...children) {
  const heading = h("h2", {}, title);
  const el = h(
    "dialog",
    { class: "dialog", "aria-label": title },
    h(
      "header",
      {},
      heading,
      iconButton("close", "Close", () => el.close()),
    ),
    h("div", { class: "dialog-body" }, children),
  );
  let answer;
  const closed = new Promise((resolve) =>
    el.addEventListener("close", () => {
      el.remove();
      resolve(answer);
    }),
  );
  el.addEventListener("click", (event) => event.target === el && el.close());
  document.body.append(el);
  el.showModal();
  return {
    el,
    body: el.querySelector(".dialog-body"),
    closed,
    close(value) {
      answer = value;
      el.close();
    },
  };
}

/** Resolves true when the person agrees. */
export function confirm(title, text, action) {
  const box = dialog(title, h("p", {}, text));
  const agree = h("button", { type: "button", class: "button danger", onclick: () => box.close(true) }, action);
  add(box.body, [h("footer", {}, h("button", { type: "button", class: "button", onclick: () => box.close(false) }, "Cancel"), agree)]);
  agree.focus();
  return box.closed;
}

/** Resolves with the text a person typed, or undefined. */
export function askText(title, label, value = "", { action = "Save", area = false, required = true } = {}) {
  const field = h(area ? "textarea" : "input", { class: "field", maxlength: area ? "2000" : "200", required, id: "ask-text" });
  field.value = value;
  const form = h(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        box.close(field.value.trim());
      },
    },
    h("label", { for: "ask-text" }, label),
    field,
    h(
      "footer",
      {},
      h("button", { type: "button", class: "button", onclick: () => box.close() }, "Cancel"),
      h("button", { class: "button primary" }, action),
    ),
  );
  const box = dialog(title, form);
  field.focus();
  field.select();
  return box.closed;
}

let openMenu = null;

/** A menu at a button: items {label, icon, run, danger}; arrow keys move, Escape returns to the button. */
export function menu(anchor, items, label = "Actions") {
  const was = openMenu?.anchor;
  openMenu?.close();
  if (was === anchor) return;
  const entries = items
    .filter(Boolean)
    .map((item) =>
      h(
        "button",
        { type: "button", role: "menuitem", class: `menu-item ${item.danger ? "danger" : ""}`, onclick: () => (close(), item.run()) },
        item.icon && icon(item.icon, 16),
        item.label,
      ),
    );
  const el = h("div", { class: "menu", role: "menu", "aria-label": label }, entries);
  const close = (refocus = true) => {
    el.remove();
    anchor.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside, true);
    openMenu = null;
    if (refocus) anchor.focus();
  };
  const outside = (event) => !el.contains(event.target) && !anchor.contains(event.target) && close(false);
  el.addEventListener("keydown", (event) => {
    const at = entries.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      entries[(at + step + entries.length) % entries.length].focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
      event.preventDefault();
      close();
    }
  });
  (anchor.closest("dialog") ?? document.body).append(el);
  place(el, anchor);
  anchor.setAttribute("aria-expanded", "true");
  document.addEventListener("pointerdown", outside, true);
  openMenu = { anchor, close };
  entries[0]?.focus({ focusVisible: false });
}

/** Below the anchor, or above it where there is no room; never outside the window. */
export function place(el, anchor) {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = el;
  const below = at.bottom + 6 + height <= innerHeight || at.top < height;
  el.style.setProperty("left", `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`);
  el.style.setProperty("top", `${below ? Math.max(8, Math.min(at.bottom + 6, innerHeight - height - 8)) : at.top - height - 6}px`);
}
