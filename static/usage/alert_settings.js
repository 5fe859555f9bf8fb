// @ts-check
// The form that says at which shares of a limit a person is told.

import { put } from "../shared/api.js";
import { fill, h, icon, iconButton, isEnter } from "../shared/dom.js";
import { describeError, fieldErrors } from "../shared/problems.js";

export function settingsForm(settings) {
  const chosen = new Set(settings.thresholds);
  const enabled = check("alert-enabled", "Tell me when a budget runs low", settings.enabled);
  const mail = check("alert-mail", "Send me an e-mail, too", settings.by_email);
  const chips = h("div", { class: "chips", role: "list", "aria-label": "Shares at which you are told" });
  const next = h("input", {
    class: "field",
    id: "alert-share",
    type: "number",
    min: "1",
    max: "100",
    step: "1",
    placeholder: "90",
    "aria-describedby": "alert-trouble",
  });
  const trouble = h("p", { class: "form-error", role: "alert", id: "alert-trouble" });
  const saved = h("span", { class: "done", role: "status" });
  const save = h("button", { class: "button primary" }, "Save");

  const changed = () => fill(saved);
  function draw() {
    const drop = (share) => () => (chosen.delete(share), changed(), draw());
    fill(
      chips,
      [...chosen]
        .sort((a, b) => a - b)
        .map((share) =>
          h("span", { class: "chip", role: "listitem" }, `${share} %`, iconButton("close", `Not at ${share} %`, drop(share), { size: 13 })),
        ),
    );
  }
  function include() {
    if (next.value === "") return true;
    if (!next.checkValidity()) return complain("A whole number from 1 to 100.");
    chosen.add(Number(next.value));
    next.value = "";
    complain("");
    draw();
    return true;
  }
  function complain(text) {
    fill(trouble, text);
    next.setAttribute("aria-invalid", String(Boolean(text)));
    return !text;
  }
  async function submit(event) {
    event.preventDefault();
    fill(saved);
    if (!include()) return;
    save.disabled = true;
    try {
      const { settings: kept } = await put("billing/alerts", {
        enabled: enabled.input.checked,
        by_email: mail.input.checked,
        thresholds: [...chosen],
      });
      chosen.clear();
      for (const share of kept.thresholds) chosen.add(share);
      draw();
      complain("");
      fill(saved, icon("check", 15), "Saved.");
    } catch (problem) {
      complain(fieldErrors(problem).thresholds ?? describeError(problem).text);
    } finally {
      save.disabled = false;
    }
  }
  next.addEventListener("keydown", (event) => isEnter(event) && next.value !== "" && (event.preventDefault(), changed(), include()));
  draw();
  const adder = h(
    "div",
    { class: "adder" },
    h("label", { for: "alert-share", class: "off-screen" }, "Another share in percent"),
    next,
    h("button", { type: "button", class: "button", onclick: () => (changed(), include()) }, "Add"),
  );
  return h(
    "form",
    { class: "form", novalidate: true, onsubmit: submit, onchange: changed },
    enabled.el,
    mail.el,
    h("div", {}, h("p", { class: "label" }, "Shares of a limit", h("small", {}, "Each is said once a month.")), chips, adder, trouble),
    h("footer", {}, saved, save),
  );
}

function check(id, label, on) {
  const input = h("input", { type: "checkbox", id });
  input.checked = on;
  return { input, el: h("label", { class: "check", for: id }, input, label) };
}
