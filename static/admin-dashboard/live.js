// @ts-check
// The live view: one socket, its figures as cards, two charts of the last five minutes, and two tables.

import "../vendor/chart/chart.js";
import { shown } from "./figures.js";

const SECONDS = 300;
const root = document.getElementById("live");
const state = document.getElementById("live-state");
const pause = document.getElementById("live-pause");
const dark = () => document.documentElement.classList.contains("dark");

// What the cards show: [title, value of a frame, note].
/** @type {[string, (figures: any) => string, ((figures: any) => string)?][]} */
const CARDS = [
  ["Requests per second", (f) => shown(f.requests_per_second, "rate")],
  [
    "Model calls per second",
    (f) => shown(f.calls_per_second, "rate"),
    (f) => `${shown(f.failed_calls_last_minute)} failed in the last minute`,
  ],
  ["Tokens per second", (f) => shown(f.tokens_per_second, "rate")],
  ["Answers within", (f) => shown(f.latency?.p95_ms, "ms"), () => "95 of 100, last minute"],
  ["Running turns", (f) => shown(f.running_turns)],
  ["Open sockets", (f) => shown(f.open_sockets)],
  ["Queued", (f) => shown(f.queued)],
  ["Errors", (f) => shown(f.errors_last_minute), () => "in the last minute"],
  ["Spent today", (f) => shown(f.today?.spend_usd, "usd"), (f) => `${shown(f.today?.calls)} calls`],
  ["On hold", (f) => shown(f.holds?.held_usd, "usd"), (f) => `${shown(f.holds?.open)} calls run`],
  ["Processes", (f) => `${shown(f.processes?.web)} web, ${shown(f.processes?.worker)} worker`],
  ["Their memory", (f) => shown(f.memory_bytes, "bytes")],
];

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

const cards = CARDS.map(([title]) => {
  const item = document.createElement("li");
  item.className = "board-card";
  const [value, note] = [element("span", "–", "board-card-value"), element("span", "", "board-card-note")];
  item.append(element("span", title, "board-card-title"), value, note);
  document.getElementById("live-cards").append(item);
  return { value, note };
});

function chart(id, lines) {
  const colours = ["#4f63e7", "#e2703a"];
  const made = new globalThis.Chart(document.getElementById(id), {
    type: "line",
    data: {
      labels: Array(SECONDS).fill(""),
      datasets: lines.map((label, index) => ({
        label,
        data: Array(SECONDS).fill(null),
        borderColor: colours[index],
        backgroundColor: `${colours[index]}22`,
        borderWidth: 2,
        pointRadius: 0,
        tension: 0.2,
        fill: lines.length === 1,
      })),
    },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { grid: { display: false }, ticks: { maxTicksLimit: 6, maxRotation: 0 } },
        y: { beginAtZero: true, suggestedMax: 1, border: { display: false }, ticks: { maxTicksLimit: 5 } },
      },
      plugins: { legend: { display: lines.length > 1, align: "end", labels: { usePointStyle: true, boxWidth: 7, boxHeight: 7 } } },
    },
  });
  const colour = () => {
    const [text, grid] = dark() ? ["#9aa2b3", "#2c313b"] : ["#5f6675", "#e7e9ee"];
    for (const axis of Object.values(made.options.scales)) {
      axis.ticks.color = text;
      axis.grid.color = grid;
    }
    made.options.plugins.legend.labels.color = text;
    made.update("none");
  };
  colour();
  new MutationObserver(colour).observe(document.documentElement, { attributeFilter: ["class"] });
  return (label, values) => {
    made.data.labels.push(label);
    made.data.labels.shift();
    made.data.datasets.forEach((one, index) => {
      one.data.push(values[index]);
      one.data.shift();
    });
    made.update("none");
  };
}

const rates = chart("chart-rates", ["requests", "model calls"]);
const tokens = chart("chart-tokens", ["tokens"]);

function rows(id, lines) {
  document.getElementById(id).replaceChildren(
    ...lines.map((cells) => {
      const row = document.createElement("tr");
      for (const [text, number, tone] of cells)
        row.append(element("td", text, [number ? "is-number" : "", tone ? `is-${tone}` : ""].join(" ").trim()));
      return row;
    }),
  );
}

const TONES = { ok: "good", idle: "", degraded: "warn", down: "bad" };

function show(figures) {
  CARDS.forEach(([, value, note], index) => {
    cards[index].value.textContent = value(figures);
    cards[index].note.textContent = note ? note(figures) : "";
  });
  const at = String(figures.at ?? "").slice(11, 19);
  rates(at, [figures.requests_per_second, figures.calls_per_second]);
  tokens(at, [figures.tokens_per_second]);
  rows(
    "live-vendor-rows",
    Object.entries(figures.vendors ?? {}).map(([name, one]) => [
      [name + (one.simulated ? " (simulated)" : "")],
      [one.status, false, TONES[one.status] ?? ""],
      [shown(one.latency_ms, "ms"), true],
      [shown(one.error_rate, "share"), true],
      [(one.open ?? []).join(", ")],
    ]),
  );
  rows(
    "live-queue-rows",
    Object.entries(figures.queues ?? {}).map(([name, depth]) => [[name], [shown(depth), true]]),
  );
  say(
    figures.complete === false ? "Valkey is away: only what this process knows" : `Live, ${at} UTC`,
    figures.complete === false ? "warn" : "good",
  );
}

function say(text, tone) {
  if (state.textContent !== text) state.textContent = text;
  root.dataset.tone = tone;
}

let paused = false;
let wait = 1000;
let over = false;

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${root.dataset.path}`, ["aiagents.v1"]);
  socket.addEventListener("message", (event) => {
    const frame = JSON.parse(event.data);
    if (frame.type === "figures") {
      wait = 1000;
      if (!paused) show(frame);
    } else if (frame.type === "error") say(frame.error?.message ?? "Refused", "bad");
  });
  socket.addEventListener("close", (event) => {
    if (event.code === 4401) {
      over = true;
      return say("Signed out, or no longer allowed to watch. Sign in again.", "bad");
    }
    say("Connection lost; trying again…", "warn");
    if (!over) setTimeout(connect, wait);
    wait = Math.min(wait * 2, 15000);
  });
}

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  if (paused) say("Paused", "warn");
});
connect();
