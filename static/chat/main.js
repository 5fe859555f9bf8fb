// The page: who is signed in decides what is shown; the address decides which conversation.

import { loadProfile, profile } from "./account.js";
import { emit, on } from "./bus.js";
import { load as loadModels } from "./catalogue.js";
import { composer } from "./composer.js";
import { reload } from "./conversations.js";
import { fill, h, iconButton } from "./dom.js";
import "./export.js";
import { loginView } from "./login.js";
import { bannerElement } from "./notices.js";
import { choice, choose, pickerButton } from "./picker.js";
import { resume } from "./session.js";
import { keepSettings, showSettings } from "./settings.js";
import { actions, sidebar } from "./sidebar.js";
import { connect } from "./socket.js";
import { threadView } from "./thread_view.js";
import * as threads from "./threads.js";

const root = document.getElementById("app");
let workbench = null;

const wanted = () => new URL(location.href).searchParams.get("c");

/** Model and settings of the next question, said with each question so that it is answered as the page shows. */
function requestOptions() {
  const { system_prompt, temperature, max_output_tokens } = threads.current.conversation.settings ?? {};
  const said = { model: choice.model, goal: choice.model === "auto" ? choice.goal : null, system_prompt, temperature, max_output_tokens };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null && value !== undefined && value !== ""));
}

function buildWorkbench() {
  const shell = h("div", { class: "shell" });
  const drawer = (open) => {
    shell.classList.toggle("side-open", open);
    shell.classList.toggle("side-hidden", !open);
    menuButton.setAttribute("aria-expanded", String(open));
  };
  const go = (id) => {
    if (matchMedia("(max-width: 800px)").matches) drawer(false);
    show(id);
  };
  const title = h("h1", { class: "thread-title" });
  const menuButton = iconButton("menu", "Conversations", () => drawer(!shell.classList.contains("side-open")), { class: "show-side", "aria-controls": "sidebar" });
  const settingsButton = iconButton("sliders", "Conversation settings", showSettings);
  const moreButton = iconButton("more", "Actions for this conversation", () => threads.current.id && actions(threads.current.conversation, moreButton));
  const header = h("header", { class: "top" }, menuButton, title, settingsButton, moreButton, iconButton("compose", "New chat", () => go(null), { class: "new-small" }));
  const changed = (next) => keepSettings(next.model === "auto" ? next : { ...next, goal: null }).catch((problem) => emit("problem", problem));
  const pen = composer(requestOptions, pickerButton(changed));
  const main = h("main", { class: "main" }, header, bannerElement, threadView(requestOptions).el, h("div", { class: "dock" }, pen.el, h("p", { class: "fine" }, "Models can be wrong. Check what matters.")));
  fill(shell, sidebar(go, () => drawer(false)).el, h("div", { class: "scrim", onclick: () => drawer(false) }), main);
  drawer(matchMedia("(min-width: 801px)").matches);

  const head = (thread) => {
    const name = thread.conversation.title || "New chat";
    title.textContent = name;
    document.title = thread.conversation.title ? `${name} · aiagents` : "aiagents";
    moreButton.hidden = !thread.id;
    settingsButton.classList.toggle("chosen", Boolean(thread.conversation.settings?.system_prompt));
  };
  let last = null;
  on("thread", (thread) => {
    head(thread);
    if (thread !== last || thread.loading) choose(choiceOf(thread));
    last = thread;
  });
  on("conversation-shown", () => head(threads.current));
  on("settings", () => head(threads.current));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shell.classList.contains("side-open") && matchMedia("(max-width: 800px)").matches) drawer(false);
    if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "o") {
      event.preventDefault();
      go(null);
    }
  });
  return shell;
}

/** What a conversation was last asked with, else what the person prefers. */
function choiceOf(thread) {
  const preferences = profile?.preferences ?? profile ?? {};
  const settings = thread.conversation.settings ?? {};
  return { model: settings.model || preferences.default_model || "auto", goal: settings.goal || preferences.goal || preferences.optimization_goal || "balanced" };
}

function show(id, push = true) {
  if (push && id !== wanted()) history.pushState(null, "", id ? `/?c=${encodeURIComponent(id)}` : "/");
  if (id) threads.open(id);
  else threads.openNew();
}

async function enter() {
  workbench ??= buildWorkbench();
  fill(root, workbench);
  connect();
  const problems = (problem) => emit("problem", problem);
  await Promise.all([loadProfile().catch(problems), loadModels().catch(problems), reload()]);
  show(wanted(), false);
}

const leave = () => fill(root, loginView(enter).el);

on("location", (id) => history.replaceState(null, "", id ? `/?c=${encodeURIComponent(id)}` : "/"));
on("signed-out", leave);
window.addEventListener("popstate", () => root.contains(workbench) && show(wanted(), false));

resume().then(
  (known) => (known ? enter() : leave()),
  (problem) => {
    leave();
    emit("problem", problem);
  },
);
