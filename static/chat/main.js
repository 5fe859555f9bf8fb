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
import { partnerNote } from "./partner_note.js";
import { choice, choose, pickerButton } from "./picker.js";
import { place, roomPane } from "./rooms.js";
import { resume, signedIn } from "./session.js";
import { keepSettings, showSettings } from "./settings.js";
import { actions, sidebar } from "./sidebar.js";
import { connect } from "./socket.js";
import { threadView } from "./thread_view.js";
import * as threads from "./threads.js";
import { bell } from "../usage/bell.js";

const root = document.getElementById("app");
let workbench = null;
let show = () => {};
let prepare = () => {};
let ready = () => {};

const chatAddress = (id) => (id ? `/?c=${encodeURIComponent(id)}` : "/");

/** Who answers the next question and its settings, said with each question so that it is answered as the page shows. */
function requestOptions() {
  const { system_prompt, temperature, max_output_tokens } = threads.current.conversation.settings ?? {};
  const said = { ...asked(choice), system_prompt, temperature, max_output_tokens };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null && value !== undefined && value !== ""));
}

/** The choice as the API's fields; an agent brings its own model and goal. */
const asked = ({ model, goal, agent }) => (agent ? { agent_id: agent, model: null, goal: null } : { agent_id: null, model, goal: model === "auto" ? goal : null });

function buildWorkbench() {
  const shell = h("div", { class: "shell" });
  const drawer = (open) => {
    shell.classList.toggle("side-open", open);
    shell.classList.toggle("side-hidden", !open);
    menuButton.setAttribute("aria-expanded", String(open));
  };
  const go = (address) => {
    if (matchMedia("(max-width: 800px)").matches) drawer(false);
    if (address !== location.pathname + location.search) history.pushState(null, "", address);
    show();
  };
  const open = (id) => go(chatAddress(id));
  const title = h("h1", { class: "thread-title" });
  const menuButton = iconButton("menu", "Conversations", () => drawer(!shell.classList.contains("side-open")), { class: "show-side", "aria-controls": "sidebar" });
  const settingsButton = iconButton("sliders", "Conversation settings", showSettings, { class: "chat-only" });
  const moreButton = iconButton("more", "Actions for this conversation", () => threads.current.id && actions(threads.current.conversation, moreButton), { class: "chat-only" });
  const header = h("header", { class: "top" }, menuButton, title, bell(go), settingsButton, moreButton, iconButton("compose", "New chat", () => open(null), { class: "new-small" }));
  const picker = pickerButton(changed);
  const pen = composer(requestOptions, picker);
  const pane = roomPane(go, (text) => {
    title.textContent = text;
    document.title = `${text} · aiagents`;
  });
  const main = h("main", { class: "main" }, header, bannerElement, pane.el, threadView(requestOptions).el, h("div", { class: "dock" }, partnerNote(() => picker.click()), pen.el, h("p", { class: "fine" }, "Models can be wrong. Check what matters.")));
  fill(shell, sidebar(open, go, () => drawer(false)).el, h("div", { class: "scrim", onclick: () => drawer(false) }), main);
  const wide = matchMedia("(min-width: 801px)");
  wide.addEventListener("change", () => drawer(wide.matches)); // also when the page is zoomed
  drawer(wide.matches);

  show = () => {
    const next = place();
    main.classList.toggle("in-room", Boolean(next.room));
    emit("place", next);
    if (next.room) return pane.show(next);
    pane.leave();
    const id = next.query.get("c");
    if (id) threads.open(id);
    else openNew(next.query.get("agent"));
    head(threads.current);
  };
  on("signed-out", pane.forget);
  prepare = async (loads) => {
    // A section needs the profile; who goes elsewhere meanwhile is shown that.
    main.classList.add("in-room");
    pane.wait(place().room);
    const wanted = location.href;
    await loads;
    if (location.href === wanted) show();
    ready();
  };
  ready = () => {
    if (!signedIn()) return;
    const thread = threads.current;
    if (!thread.id || !thread.loading) choose(choiceOf(thread));
    emit("entered");
  };

  const head = (thread) => {
    if (main.classList.contains("in-room")) return;
    const name = thread.conversation.title || "New chat";
    title.textContent = name;
    document.title = thread.conversation.title ? `${name} · aiagents` : "aiagents";
    moreButton.hidden = !thread.id;
    settingsButton.classList.toggle("chosen", Boolean(thread.conversation.settings?.system_prompt));
  };
  let last = null;
  let loading = false;
  on("thread", (thread) => {
    head(thread);
    // An old conversation's settings are known only once it has been fetched.
    if (thread !== last || loading) choose(choiceOf(thread));
    [last, loading] = [thread, thread.loading];
  });
  on("conversation-shown", () => head(threads.current));
  on("settings", () => head(threads.current));
  document.addEventListener("keydown", (event) => {
    // A menu or dialog that lies above takes its Escape itself.
    if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]") && shell.classList.contains("side-open") && matchMedia("(max-width: 800px)").matches) drawer(false);
    if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "o") {
      event.preventDefault();
      open(null);
    }
  });
  return shell;
}

/** A new conversation, with an agent where one is named. */
function openNew(agent) {
  threads.openNew();
  if (!agent) return;
  keepSettings({ agent_id: agent });
  choose({ agent });
}

/** The conversation is asked as was chosen; what could not be kept is not shown either. */
async function changed() {
  const thread = threads.current;
  if (!thread.id) history.replaceState(null, "", choice.agent ? `/?agent=${encodeURIComponent(choice.agent)}` : "/");
  try {
    await keepSettings(asked(choice));
  } catch (problem) {
    if (thread === threads.current) choose(choiceOf(thread));
    emit("problem", problem);
  }
}

/** What a conversation was last asked with, else what the person prefers. */
function choiceOf(thread) {
  const preferences = profile?.preferences ?? profile ?? {};
  const settings = thread.conversation.settings ?? {};
  return { model: settings.model || preferences.default_model || "auto", goal: settings.goal || preferences.goal || preferences.optimization_goal || "balanced", agent: settings.agent_id ?? null };
}

/** Shows what the address names at once; a question asked before the person's preferences are known waits for them (composer). */
async function enter() {
  workbench ??= buildWorkbench();
  fill(root, workbench);
  connect();
  const problems = (problem) => emit("problem", problem);
  const loads = Promise.all([loadProfile().catch(problems), loadModels().catch(problems), reload()]);
  if (place().room) {
    await prepare(loads);
    return;
  }
  show();
  await loads;
  ready();
}

const leave = () => fill(root, loginView(enter).el);

// A new conversation gets its address with its first question; by then the person may be in a room.
on("location", (id) => place().room || history.replaceState(null, "", chatAddress(id)));
on("signed-out", leave);
window.addEventListener("popstate", () => root.contains(workbench) && show());

resume().then(
  (known) => (known ? enter() : leave()),
  (problem) => {
    leave();
    emit("problem", problem);
  },
);
