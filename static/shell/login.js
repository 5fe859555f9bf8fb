// @ts-check
// The form for those who are not signed in: sign in or, where registration is open, create an account.

import { fill, h, icon } from "../shared/dom.js";
import { describeError, fieldErrors } from "../shared/problems.js";
import { logIn, register } from "../shared/session.js";

/** A view; `entered()` is called once the person is signed in. Who may register stands in the page (chat/pages.py). */
export function loginView(entered) {
  const el = h("main", { class: "login" });
  const { registrationOpen, registrationMessage, registrationLimited } = document.getElementById("app").dataset;
  const open = registrationOpen === "true";
  let creating = false;

  function draw(email = "") {
    const trouble = h("p", { class: "form-error", role: "alert" });
    const name = field("name", "Name", "text", { autocomplete: "name", maxlength: 150 });
    const mail = field("email", "Email", "email", { autocomplete: "username", required: true, maxlength: 254, inputmode: "email" });
    const secret = field("password", "Password", "password", {
      autocomplete: creating ? "new-password" : "current-password",
      required: true,
    });
    const submitButton = h("button", { class: "button primary wide" }, creating ? "Create account" : "Sign in");
    mail.input.value = email;

    async function submit(event) {
      event.preventDefault();
      submitButton.disabled = true;
      trouble.textContent = "";
      for (const one of [name, mail, secret]) one.complain("");
      try {
        if (creating) await register(mail.input.value.trim(), secret.input.value, name.input.value.trim());
        else await logIn(mail.input.value.trim(), secret.input.value);
        secret.input.value = "";
        entered();
      } catch (problem) {
        show(problem);
      } finally {
        submitButton.disabled = false;
      }
    }

    function show(problem) {
      const fields = fieldErrors(problem);
      let placed = false;
      for (const [key, one] of Object.entries({ name, email: mail, password: secret }))
        if (fields[key]) {
          one.complain(fields[key]);
          if (!placed) one.input.focus();
          placed = true;
        }
      if (placed) return;
      const { text, requestId } = describeError(problem);
      const wait = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
      trouble.textContent =
        problem.status === 401 ? "The email or the password is not right." : `${text}${wait}${requestId ? ` (request ${requestId})` : ""}`;
      secret.input.focus();
    }

    const turn = h(
      "button",
      { type: "button", class: "link", onclick: () => ((creating = !creating), draw(mail.input.value)) },
      creating ? "Sign in instead" : "Create an account",
    );
    const ways = open ? [creating ? "You have an account? " : "New here? ", turn] : [registrationMessage];
    fill(
      el,
      h(
        "form",
        { class: "login-card", onsubmit: submit, novalidate: false },
        h("span", { class: "mark" }, icon("spark", 26)),
        h("h1", {}, creating ? "Create your account" : "Sign in to aiagents"),
        h(
          "p",
          { class: "lead" },
          creating && registrationLimited !== undefined ? registrationMessage : "Every model in one place, with exact costs.",
        ),
        creating && name.el,
        mail.el,
        secret.el,
        trouble,
        submitButton,
        h("p", { class: "turn" }, ways),
      ),
    );
    (email ? secret : creating ? name : mail).input.focus();
  }

  draw();
  return { el };
}

function field(name, label, type, attributes) {
  const id = `login-${name}`;
  const complaint = h("small", { class: "form-error", id: `${id}-error` });
  const input = h("input", { class: "field", id, name, type, "aria-describedby": `${id}-error`, ...attributes });
  return {
    el: h("div", { class: "labelled" }, h("label", { for: id }, label), input, complaint),
    input,
    complain(text) {
      complaint.textContent = text;
      input.setAttribute("aria-invalid", String(Boolean(text)));
    },
  };
}
