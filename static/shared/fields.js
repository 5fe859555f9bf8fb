// @ts-check
// Labelled fields of a form with a place for what is wrong with each.

import { fill, h } from "./dom.js";
import { describeError, fieldErrors } from "./problems.js";

let count = 0;

/** `add(name, label, control, hint)` gives the labelled control; `complain(problem)` puts each error at its field. */
export function fieldSet() {
  const places = new Map(); // name of the API -> {control, trouble}
  const general = h("p", { class: "form-error", role: "alert" });

  function add(name, label, control, hint = "") {
    const id = `field-${(count += 1)}`;
    const trouble = h("p", { class: "form-error", id: `${id}-trouble` });
    control.id = id;
    control.setAttribute("aria-describedby", trouble.id);
    places.set(name, { control, trouble });
    return h("div", {}, h("label", { for: id }, label, hint && h("small", {}, hint)), control, trouble);
  }

  /** A place for the errors of something that is no single control. */
  function watch(name, control) {
    const trouble = h("p", { class: "form-error" });
    places.set(name, { control, trouble });
    return trouble;
  }

  function clear() {
    fill(general);
    for (const { control, trouble } of places.values()) {
      fill(trouble);
      control.removeAttribute("aria-invalid");
    }
  }

  function mark(errors) {
    const rest = [];
    let first = null;
    for (const [path, text] of Object.entries(errors)) {
      // "tools.0.name" belongs to the tools.
      const place = places.get(path) ?? places.get(path.split(".")[0]);
      if (!place) {
        rest.push(text);
        continue;
      }
      fill(place.trouble, text);
      place.control.setAttribute("aria-invalid", "true");
      first ??= place.control;
    }
    fill(general, rest.join(" ") || (first && "Something above is not right yet."));
    first?.scrollIntoView({ block: "center" });
    first?.focus({ preventScroll: true });
  }

  function complain(problem) {
    const errors = problem.status === 400 || problem.status === 409 ? fieldErrors(problem) : {};
    if (Object.keys(errors).length) mark(errors);
    else fill(general, describeError(problem).text, problem.requestId && ` (Request ${problem.requestId})`);
  }

  return { add, watch, clear, mark, complain, general };
}

/** The number in a field, null where it is empty, NaN where it holds something else. */
export const numberIn = (field) => (field.validity.badInput ? NaN : field.value.trim() === "" ? null : Number(field.value));
