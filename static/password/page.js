// @ts-check
// The page of a one-time link: takes the new password. The token stands in the address's fragment, which no server sees.

import { address, readJson, send } from "../shared/http.js";
import { describeError, fieldErrors } from "../shared/problems.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("form"));
const fields = /** @type {any} */ (form.elements); // by their names
const outcome = document.getElementById("outcome");
const trouble = document.getElementById("trouble");
const token = location.hash.slice(1);
// Out of the history: the link still works until it is used.
history.replaceState(null, "", location.pathname);

function end(title, sentence) {
  form.hidden = true;
  outcome.hidden = false;
  outcome.querySelector("h1").textContent = title;
  outcome.querySelector("p").textContent = sentence;
}

const DEAD = ["This link does not work", "It was used already, or its time is over. Ask for a new one."];

const setPassword = async (body) => readJson(await send(address("auth/password-link"), { method: "POST", body }));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { new_password, again, revoke_api_keys } = fields;
  trouble.textContent = "";
  if (new_password.value !== again.value) {
    trouble.textContent = "The two passwords are not the same.";
    again.focus();
    return;
  }
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await setPassword({ token, new_password: new_password.value, revoke_api_keys: revoke_api_keys.checked });
    end("Your password is set", "Sign in with it. Every earlier session was signed out.");
  } catch (problem) {
    if (problem.code === "link_invalid") end(...DEAD);
    else {
      const { text, requestId } = describeError(problem);
      const wait = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
      trouble.textContent = fieldErrors(problem).new_password ?? `${text}${wait}${requestId ? ` (request ${requestId})` : ""}`;
      new_password.focus();
    }
  } finally {
    button.disabled = false;
  }
});

if (token) {
  form.hidden = false;
  fields.new_password.focus();
} else end(...DEAD);
