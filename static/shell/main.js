// @ts-check
// The page: who is signed in decides what is shown; the address decides which conversation.

import { agentNote } from "../chat/agent_note.js";
import { choice, choose, pickerButton } from "../chat/choice.js";
import { composer } from "../chat/composer.js";
import { conversationMenu } from "../chat/conversation_menu.js";
import { reload } from "../chat/conversations.js";
import { keepSettings, showSettings } from "../chat/settings.js";
import { connect } from "../chat/socket.js";
import { threadView } from "../chat/thread_view.js";
import * as threads from "../chat/threads.js";
import { emit, on } from "../shared/bus.js";
import { loadModels } from "../shared/catalogue.js";
import { fill, h, iconButton } from "../shared/dom.js";
import { watchNews } from "../shared/news.js";
import { bannerElement } from "../shared/notices.js";
import { loadProfile, profile } from "../shared/profile.js";
import { resume, signedIn } from "../shared/session.js";
import { bell } from "./bell.js";
import { loginView } from "./login.js";
import { pagePane, placeOf } from "./pages.js";
import { sidebar } from "./sidebar.js";

const root = document.getElementById("app");
let workbench = null;
let show = () => {};
/** @type {(loads: Promise<unknown>) => void} */
let prepare = () => {};
let ready = () => {};

const chatAddress = (id) => (id ? `/?c=${encodeURIComponent(id)}` : "/");

/** Who answers the next question and its settings, said with each question so that it is answered as the page shows. */
function requestOptions() {
  const { system_prompt, temperature, max_output_tokens } = threads.current.conversation.settings;
  const said = { ...asked(choice), system_prompt, temperature, max_output_tokens };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null && value !== undefined && value !== ""));
}

/** The choice as the API's fields; an agent brings its own model and goal. */
const asked = ({ model, goal, agent }) =>
  agent ? { agent_id: agent, model: null, goal: null } : { agent_id: null, model, goal: model === "auto" ? goal : null };

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
  const menuButton = iconButton("menu", "Conversations", () => drawer(!shell.classList.contains("side-open")), {
    class: "show-side",
    "aria-controls": "sidebar",
  });
  const settingsButton = iconButton("sliders", "Conversation settings", showSettings, { class: "chat-only" });
  const moreButton = iconButton(
    "more",
    "Actions for this conversation",
    () => threads.current.id && conversationMenu(threads.current.conversation, moreButton),
    { class: "chat-only" },
  );
  const header = h(
    "header",
    { class: "top" },
    menuButton,
    title,
    bell(go),
    settingsButton,
    moreButton,
    iconButton("compose", "New chat", () => open(null), { class: "new-small" }),
  );
  const picker = pickerButton(changed);
  const pen = composer(requestOptions, picker);
  const pane = pagePane(go, (text) => {
    title.textContent = text;
    document.title = `${text} · aiagents`;
  });
  const main = h(
    "main",
    { class: "main" },
    header,
    bannerElement,
    pane.el,
    threadView(requestOptions).el,
    h(
      "div",
      { class: "dock" },
      agentNote(() => picker.click()),
      pen.el,
      h("p", { class: "fine" }, "Models can be wrong. Check what matters."),
    ),
  );
  fill(shell, sidebar(open, go, () => drawer(false)).el, h("div", { class: "scrim", onclick: () => drawer(false) }), main);
  const wide = matchMedia("(min-width: 801px)");
  wide.addEventListener("change", () => drawer(wide.matches)); // also when the page is zoomed
  drawer(wide.matches);

  show = () => {
    const next = placeOf();
    main.classList.toggle("in-page", Boolean(next.page));
    emit("place", next);
    if (next.page) return pane.show(next);
    pane.leave();
    const id = next.query.get("c");
    if (id) threads.open(id);
    else openNew(next.query.get("agent"));
    head(threads.current);
  };
  on("signed-out", pane.forget);
  prepare = async (loads) => {
    // A section needs the profile; who goes elsewhere meanwhile is shown that.
    main.classList.add("in-page");
    pane.wait(placeOf().page);
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
    if (main.classList.contains("in-page")) return;
    const name = thread.conversation.title || "New chat";
    title.textContent = name;
    document.title = thread.conversation.title ? `${name} · aiagents` : "aiagents";
    moreButton.hidden = !thread.id;
    settingsButton.classList.toggle("chosen", Boolean(thread.conversation.settings.system_prompt));
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
    if (
      event.key === "Escape" &&
      !event.defaultPrevented &&
      !document.querySelector("dialog[open]") &&
      shell.classList.contains("side-open") &&
      matchMedia("(max-width: 800px)").matches
    )
      drawer(false);
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
  const { settings } = thread.conversation;
  // The profile is missing where it could not be fetched.
  const { default_model: model, goal } = profile?.preferences ?? { default_model: "auto", goal: "balanced" };
  return { model: settings.model || model, goal: settings.goal || goal, agent: settings.agent_id ?? null };
}

/** Shows what the address names at once; a question asked before the person's preferences are known waits for them (composer). */
async function enter() {
  workbench ??= buildWorkbench();
  fill(root, workbench);
  connect();
  const problems = (problem) => emit("problem", problem);
  const loads = Promise.all([loadProfile().catch(problems), loadModels().catch(problems), reload()]);
  if (placeOf().page) {
    await prepare(loads);
    return;
  }
  show();
  await loads;
  ready();
}

const leave = () => fill(root, loginView(enter).el);

// A new conversation gets its address with its first question; by then the person may be on another page.
on("location", (id) => placeOf().page || history.replaceState(null, "", chatAddress(id)));
on("signed-out", leave);
on("news-credentials", () => loadProfile().catch(() => {})); // a session that ended signs out
watchNews();
window.addEventListener("popstate", () => root.contains(workbench) && show());

resume().then(
  (known) => (known ? enter() : leave()),
  (problem) => {
    leave();
    emit("problem", problem);
  },
);
