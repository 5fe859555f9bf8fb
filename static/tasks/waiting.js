// Runs that stand still until the person says yes or no: their number beside the link, and the list of them.

import { get } from "../chat/api.js";
import { on } from "../chat/bus.js";
import { debounce, fill, h, icon } from "../chat/dom.js";
import { moment } from "../chat/format.js";
import { signedIn } from "../chat/session.js";

const EVERY = 60000;
const MOST = 20;

const asked = () => get("agents/runs/", { status: "waiting_approval", page_size: MOST });

/** A number for the sidebar, hidden while nothing waits. */
export function waiting() {
  const el = h("span", { class: "badge warn count", hidden: true });
  const look = debounce(async () => {
    if (!signedIn() || document.visibilityState !== "visible") return;
    const page = await asked().catch(() => null);
    if (!page) return;
    const number = page.results.length;
    el.hidden = !number;
    el.textContent = page.next ? `${MOST}+` : String(number);
    el.setAttribute("aria-label", `${number} wait for you`);
  }, 800);
  for (const name of ["profile", "turn-ended", "decided", "run", "task-seen"]) on(name, look);
  on("signed-out", () => (el.hidden = true));
  setInterval(look, EVERY);
  return el;
}

/** Fills `el` with a panel of the runs that wait, wherever they were begun. */
export async function whoWaits(el) {
  const page = await asked().catch(() => ({ results: [] }));
  const rows = page.results.map((run) => {
    const [where, place] = run.task_id ? [`/tasks/${run.task_id}`, "task"] : run.conversation_id ? [`/?c=${run.conversation_id}`, "chat"] : [`/agents/${run.agent_id ? `${run.agent_id}/` : ""}runs/${run.id}`, "run"];
    return h("li", {}, h("a", { href: where }, run.input.slice(0, 160) || "A run"), h("small", {}, [run.agent, place, `since ${moment(run.created_at)}`].filter(Boolean).join(" · ")));
  });
  fill(el, rows.length > 0 && h("section", { class: "panel waits", "aria-label": "Waits for you" }, h("h2", {}, icon("alert", 16), "Waits for you"), h("p", {}, "These runs ask before they use a tool."), h("ul", {}, rows)));
}
