// The page of a one-time link: takes the new password. The token stands in the address's fragment, which no server sees.

import { Problem, fieldErrors, network, words } from "../chat/problems.js";

const form = document.getElementById("form");
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

async function send(body) {
  let answer;
  try {
    answer = await fetch("/api/v1/auth/password-link", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw network();
  }
  if (answer.ok) return;
  const said = await answer.json().catch(() => ({}));
  throw new Problem(said.error, answer.status, answer.headers.get("Retry-After"));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { new_password, again, revoke_api_keys } = form.elements;
  trouble.textContent = "";
  if (new_password.value !== again.value) {
    trouble.textContent = "The two passwords are not the same.";
    again.focus();
    return;
  }
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await send({ token, new_password: new_password.value, revoke_api_keys: revoke_api_keys.checked });
    end("Your password is set", "Sign in with it. Every earlier session was signed out.");
  } catch (problem) {
    if (problem.code === "link_invalid") end(...DEAD);
    else {
      const { text, requestId } = words(problem);
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
  form.elements.new_password.focus();
} else end(...DEAD);
