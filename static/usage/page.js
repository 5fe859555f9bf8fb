// @ts-check
// The usage page: the month and its figures, the single calls, and what budgets have to say.

import { get } from "../shared/api.js";
import { on } from "../shared/bus.js";
import { debounce, fill, h } from "../shared/dom.js";
import { section } from "../shared/section.js";
import { alertsView } from "./alerts.js";
import { callsView } from "./calls.js";
import { segments } from "./controls.js";
import { forecastPanel, monthCards } from "./month.js";
import { advicePanel, keepInStep } from "./recommendations.js";
import { spendPanel } from "./spend.js";

const TABS = { "": "Overview", calls: "Calls", alerts: "Alerts and limits" };
const FRESH = 60000;

export async function open(frame) {
  const tabs = segments("Parts of this page", TABS);
  tabs.el.classList.add("tabs");
  const place = h("div", { class: "stack" });
  const month = summary();
  const views = { "": overview(frame.go, month), calls: callsView(frame.go, month.get), alerts: alertsView() };
  let current = null;
  let listening = null;
  fill(frame.el, h("div", { class: "page-inner usage" }, tabs.el, place));

  const again = debounce(() => {
    month.forget();
    current?.again();
  }, 1500);

  return {
    show(path, query) {
      const name = Object.hasOwn(TABS, path[0] ?? "") ? (path[0] ?? "") : "";
      const entered = views[name] !== current;
      frame.title("Usage");
      tabs.show(name, (tab) => (tab ? `/usage/${tab}` : "/usage"));
      listening ??= on("turn-ended", again);
      if (entered) {
        current?.leave?.();
        current = views[name];
        fill(place, current.el);
      }
      current.show(query, entered);
    },
    leave() {
      current?.leave?.();
      current = null;
      listening?.();
      listening = null;
    },
  };
}

/** The month's summary, asked for once a minute at most. */
function summary() {
  let asked = null;
  let at = 0;
  const forget = () => {
    asked = null;
  };
  return {
    forget,
    get() {
      if (!asked || Date.now() - at > FRESH) {
        at = Date.now();
        asked = get("billing/summary");
        asked.catch(forget);
      }
      return asked;
    },
  };
}

function overview(go, month) {
  const cards = h("div", { class: "stack" });
  const advice = h("section", { class: "panel", "aria-label": "Recommendations" });
  const spend = spendPanel(go, month.get);
  const loadMonth = section(cards, (found) => fill(cards, monthCards(found), forecastPanel(found)));
  const loadAdvice = section(advice, (found) => fill(advice, advicePanel(found)));
  keepInStep(advice);
  return {
    el: h("div", { class: "stack" }, cards, spend.el, advice),
    show(query, entered) {
      spend.show(query, entered);
      if (!entered) return;
      loadMonth(month.get);
      loadAdvice(() => get("billing/recommendations"));
    },
    again() {
      loadMonth(month.get);
      spend.again();
    },
    leave: spend.leave,
  };
}
