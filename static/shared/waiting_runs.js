// @ts-check
// Agent runs that stand still until the person allows or denies a tool call: their number, and the list of them.

import { get } from "./api.js";
import { on } from "./bus.js";
import { debounce, fill, h, icon } from "./dom.js";
import { moment } from "./format.js";
import { signedIn } from "./session.js";

const MOST = 20;

/** @returns {Promise<Api["PaginatedRunListList"]>} */
const fetchWaiting = () => get("agents/runs/", { status: "waiting_approval", page_size: MOST });

/** A number for the side bar, hidden while nothing waits. */
export function waitingCount() {
  const el = h("span", { class: "badge warn count", hidden: true });
  const refresh = debounce(async () => {
    if (!signedIn() || document.visibilityState !== "visible") return;
    const page = await fetchWaiting().catch(() => null);
    if (!page) return;
    const number = page.results.length;
    el.hidden = !number;
    el.textContent = page.next ? `${MOST}+` : String(number);
    el.setAttribute("aria-label", `${number} wait for you`);
  }, 800);
  for (const name of ["profile", "news-runs", "decided", "task-seen"]) on(name, refresh);
  on("signed-out", () => (el.hidden = true));
  return el;
}

/** Fills `el` with a panel of the runs that wait, wherever they began; empties it where none does. */
export async function showWaitingRuns(el) {
  const page = await fetchWaiting().catch(() => null);
  const rows = (page?.results ?? []).map((run) => {
    const [href, kind] = addressOf(run);
    return h(
      "li",
      {},
      h("a", { href }, run.input.slice(0, 160) || "A run"),
      h("small", {}, [run.agent, kind, `since ${moment(run.created_at)}`].filter(Boolean).join(" · ")),
    );
  });
  fill(
    el,
    rows.length > 0 &&
      h(
        "section",
        { class: "panel waits", "aria-label": "Waiting for you" },
        h("h2", {}, icon("alert", 16), "Waiting for you"),
        h("p", {}, "These runs ask before they use a tool."),
        h("ul", {}, rows),
        page.next && h("p", {}, "There are more."),
      ),
  );
}

/** @param {Api["RunList"]} run */
function addressOf(run) {
  if (run.task_id) return [`/tasks/${run.task_id}`, "task"];
  if (run.conversation_id) return [`/?c=${run.conversation_id}`, "chat"];
  return [`/agents/${run.agent_id ? `${run.agent_id}/` : ""}runs/${run.id}`, "run"];
}
