// @ts-check
// One agent: its definition, its runs, its versions.

import { get, patch, remove } from "../shared/api.js";
import { emit } from "../shared/bus.js";
import { fill, h, icon, iconButton } from "../shared/dom.js";
import { notify } from "../shared/notices.js";
import { confirm, menu } from "../shared/overlay.js";
import { section } from "../shared/section.js";
import { definitionList } from "./definition.js";
import { agentForm } from "./form.js";
import { agentBadges } from "./labels.js";
import { runsView } from "./runs.js";
import { versionList } from "./versions.js";

const TABS = { "": "Definition", runs: "Run", versions: "Versions" };

export function agentView({ go, title }) {
  const forms = new Map(); // agent id -> form with what was typed and not saved
  const head = h("div", {});
  const body = h("div", { class: "stack" });
  const el = h("div", { class: "stack" }, head, body);
  let shown = null; // {agent, tools, budget}
  let place = null; // {id, tab, query}
  let runs = null;
  const load = section(body, (found) => {
    shown = found;
    draw();
  });

  function draw() {
    const { agent } = shown;
    title(agent.name);
    drawHead(agent);
    const tab = agent.mine || place.tab !== "versions" ? place.tab : "";
    runs?.leave();
    runs = null;
    if (tab === "runs") {
      runs = runsView(agent, go);
      fill(body, runs.el);
      runs.show(place.query);
    } else if (tab === "versions") {
      const versions = versionList(agent.id, again);
      fill(body, versions.el);
      versions.load();
    } else fill(body, agent.mine ? formOf(agent).el : readOnly(agent));
  }

  function formOf(agent) {
    if (!forms.get(agent.id)?.dirty()) {
      forms.set(agent.id, agentForm(agent, shown.tools, { budget: shown.budget, saved }));
    }
    return forms.get(agent.id);
  }

  function saved(agent, limit) {
    shown = { ...shown, agent, budget: shown.budget === undefined ? undefined : limit };
    title(agent.name);
    drawHead(agent);
  }

  const again = () => show([place.id, place.tab], place.query, true);

  function drawHead(agent) {
    const links = Object.entries(TABS).filter(([name]) => agent.mine || name !== "versions");
    const chosen = links.some(([name]) => name === place.tab) ? place.tab : "";
    const more = iconButton("more", `More for ${agent.name}`, () => actions(agent, more), { "aria-haspopup": "menu" });
    fill(
      head,
      h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("a", { href: "/agents" }, "Agents"), " / ", agent.name),
      h(
        "div",
        { class: "agent-title" },
        h("span", { class: "avatar" }, icon("robot", 20)),
        h("div", {}, h("h2", {}, agent.name), h("div", { class: "badges" }, agentBadges(agent))),
        h("a", { class: "button primary", href: `/?agent=${agent.id}` }, "Chat"),
        more,
      ),
      agent.description && h("p", { class: "about" }, agent.description),
      h(
        "nav",
        { class: "tabs", "aria-label": "Parts of this agent" },
        links.map(([name, text]) =>
          h("a", { href: `/agents/${agent.id}${name && `/${name}`}`, "aria-current": name === chosen ? "page" : null }, text),
        ),
      ),
    );
  }

  function actions(agent, anchor) {
    const shared = agent.visibility === "shared";
    menu(anchor, [
      { label: "Make a copy", icon: "copy", run: () => go(`/agents/new?from=${agent.id}`) },
      agent.mine && { label: shared ? "Stop sharing" : "Share", icon: "user", run: () => share(agent, shared ? "private" : "shared") },
      agent.mine && { label: "Delete", icon: "trash", danger: true, run: () => erase(agent) },
    ]);
  }

  async function share(agent, visibility) {
    const text =
      visibility === "shared"
        ? "Everybody here will see its prompt and may run it, each with their own budget."
        : "Others cannot run it any more; their conversations with it stop.";
    if (
      !(await confirm(
        visibility === "shared" ? "Share this agent" : "Stop sharing",
        text,
        visibility === "shared" ? "Share" : "Stop sharing",
      ))
    )
      return;
    try {
      emit("agent-changed", await patch(`agents/${agent.id}`, { visibility }));
      notify(visibility === "shared" ? "Shared" : "Private again");
      again();
    } catch (problem) {
      emit("problem", problem);
    }
  }

  async function erase(agent) {
    if (
      !(await confirm(
        "Delete agent",
        `“${agent.name}” and the runs that you started here disappear at once, and after some days they are erased with every version. Conversations and tasks with it need another agent; their runs stay with them. What it cost stays in your usage, without the text.`,
        "Delete",
      ))
    )
      return;
    try {
      await remove(`agents/${agent.id}`);
      forms.delete(agent.id);
      emit("agent-gone", agent.id);
      go("/agents");
    } catch (problem) {
      emit("problem", problem);
    }
  }

  function show([id, tab], query, entered) {
    const same = !entered && shown?.agent.id === id;
    place = { id, tab: Object.hasOwn(TABS, tab) ? tab : "", query };
    if (same) return draw();
    if (shown?.agent.id !== id) {
      title("Agent");
      fill(head);
      fill(body);
    }
    return load(async () => {
      const [agent, tools, budget] = await Promise.all([find(id), get("agents/tools"), limitOf(id)]);
      return { agent, tools: tools.results, budget };
    });
  }

  return {
    el,
    show,
    leave() {
      // Who comes back waits for the fresh one: what is typed into a box that is about to be replaced is lost.
      if (runs) fill(body);
      runs?.leave();
      runs = null;
    },
  };
}

async function find(id) {
  try {
    return await get(`agents/${id}`);
  } catch (problem) {
    if (problem.status === 404) problem.message = "This agent was deleted, or it is no longer shared with you.";
    throw problem;
  }
}

/** The agent's monthly limit; undefined where it cannot be told, so that nobody changes it unseen. */
async function limitOf(id) {
  const budgets = await get("billing/budgets").catch(() => null);
  return budgets ? (budgets.find((one) => one.scope === "agent" && one.scope_id === id)?.limit_usd ?? null) : undefined;
}

/** Somebody else's agent: to be read, run and chatted with. */
function readOnly(agent) {
  const by = `${agent.owner} shares this agent`;
  return h(
    "section",
    { class: "panel", "aria-label": "Definition" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", {}, "Definition"),
      h("small", {}, `${by}; only they can change it. Tools that reach other services ask you before each call.`),
    ),
    definitionList(agent),
  );
}
