// @ts-check
// Draws the figures that the page carries (#board-charts) with Chart.js.
// Colours follow the theme; arrow keys walk along a chart; what is on screen is also in the table below it.

import "../vendor/chart/chart.js";
import { moments, shown } from "./figures.js";

const PALETTE = ["#4f63e7", "#e2703a", "#12a594", "#a855d8", "#d6a100", "#e5484d", "#0090ff", "#68a611", "#d6409f", "#7c7f8a"];
const drawn = new Map();

const dark = () => document.documentElement.classList.contains("dark");
const ink = () => (dark() ? { text: "#9aa2b3", grid: "#2c313b", page: "#111827" } : { text: "#5f6675", grid: "#e7e9ee", page: "#ffffff" });

function datasets(spec) {
  const round = spec.kind === "doughnut";
  return spec.series.map((one, index) => {
    const colour = PALETTE[index % PALETTE.length];
    const line = one.kind === "line" || (spec.kind === "line" && one.kind !== "bar");
    return {
      label: one.label,
      data: one.values,
      type: round ? undefined : line ? "line" : "bar",
      yAxisID: round || spec.kind === "across" ? undefined : one.axis,
      backgroundColor: round ? one.values.map((_, i) => PALETTE[i % PALETTE.length]) : line ? `${colour}22` : colour,
      borderColor: round ? ink().page : colour,
      borderWidth: line ? 2 : round ? 2 : 0,
      fill: line && spec.kind === "line" && spec.series.length === 1,
      pointRadius: one.values.length > 60 ? 0 : 2,
      pointHoverRadius: 5,
      tension: 0.25,
      borderRadius: line ? 0 : 3,
      maxBarThickness: 42,
      spanGaps: true,
    };
  });
}

function axis(unit, position, stacked, grid = true) {
  const { text, grid: lines } = ink();
  return {
    position,
    stacked,
    beginAtZero: true,
    grid: { color: lines, display: grid, drawTicks: false },
    border: { display: false },
    ticks: { color: text, padding: 6, maxTicksLimit: 6, callback: (value) => shown(value, unit, true) },
  };
}

function scales(spec) {
  const { text } = ink();
  const across = spec.kind === "across";
  const stacked = spec.kind === "stacked";
  const names = {
    stacked,
    grid: { display: false },
    border: { color: ink().grid },
    ticks: {
      color: text,
      maxRotation: 0,
      autoSkip: !across,
      autoSkipPadding: 18,
      callback(value) {
        const label = String(this.getLabelForValue(value));
        return label.length > 26 ? `${label.slice(0, 25)}…` : label;
      },
    },
  };
  if (across) return { y: names, x: axis(spec.unit, "bottom", false) };
  const found = { x: names, y: axis(spec.unit, "left", stacked) };
  if (spec.series.some((one) => one.axis === "right")) found.right = axis(spec.right, "right", false, false);
  return found;
}

function draw(canvas, spec) {
  const round = spec.kind === "doughnut";
  const { text } = ink();
  const unitOf = (context) => (context.dataset.yAxisID === "right" ? spec.right : spec.unit);
  return new globalThis.Chart(canvas, {
    type: round ? "doughnut" : "bar",
    data: { labels: moments(spec.labels), datasets: datasets(spec) },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      indexAxis: spec.kind === "across" ? "y" : "x",
      cutout: round ? "62%" : undefined,
      interaction: { mode: round ? "nearest" : "index", axis: spec.kind === "across" ? "y" : "x", intersect: round },
      scales: round ? {} : scales(spec),
      plugins: {
        legend: {
          display: round || spec.series.length > 1,
          position: round ? "right" : "top",
          align: "end",
          labels: { color: text, usePointStyle: true, pointStyle: "circle", boxWidth: 7, boxHeight: 7 },
        },
        tooltip: {
          callbacks: {
            title: (items) => (items.length && !round ? spec.labels[items[0].dataIndex] : ""),
            label: (context) =>
              `${round ? context.label : context.dataset.label}: ${shown(round ? context.parsed : context.raw, unitOf(context))}`,
          },
        },
      },
    },
  });
}

// Left and right walk along the points, Home and End jump, Escape leaves; what is there is said aloud.
function walk(canvas, spec) {
  const said = canvas.parentElement.parentElement.querySelector(".board-said");
  let at = -1;
  canvas.addEventListener("keydown", (event) => {
    const last = spec.labels.length - 1;
    const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last, Escape: -1 };
    if (!(event.key in steps) || last < 0) return;
    event.preventDefault();
    at = event.key === "Escape" ? -1 : Math.max(0, Math.min(last, steps[event.key]));
    show(at);
  });
  canvas.addEventListener("blur", () => show((at = -1)));

  function show(index) {
    const chart = drawn.get(canvas);
    const points = index < 0 ? [] : spec.series.map((_, datasetIndex) => ({ datasetIndex, index }));
    chart.setActiveElements(points);
    chart.tooltip.setActiveElements(points, { x: 0, y: 0 });
    chart.update("none");
    const figures = spec.series.map((one) => `${one.label} ${shown(one.values[index], one.axis === "right" ? spec.right : spec.unit)}`);
    said.textContent = index < 0 ? "" : `${spec.labels[index]}: ${figures.join(", ")}`;
  }
}

function start() {
  const source = document.getElementById("board-charts");
  if (!source) return;
  const specs = JSON.parse(source.textContent);
  globalThis.Chart.defaults.font.family = "Inter, system-ui, sans-serif";
  globalThis.Chart.defaults.font.size = 12;
  const canvases = /** @type {HTMLCanvasElement[]} */ ([...document.querySelectorAll("canvas[data-chart]")]);
  const redraw = () => {
    for (const canvas of canvases) {
      drawn.get(canvas)?.destroy();
      drawn.set(canvas, draw(canvas, specs[canvas.dataset.chart]));
    }
  };
  redraw();
  for (const canvas of canvases) walk(canvas, specs[canvas.dataset.chart]);
  let was = dark();
  new MutationObserver(() => {
    if (was !== dark()) {
      was = dark();
      redraw();
    }
  }).observe(document.documentElement, { attributeFilter: ["class"] });
  const tables = /** @type {HTMLDetailsElement[]} */ ([...document.querySelectorAll(".board details")]);
  let open = [];
  addEventListener("beforeprint", () => {
    open = tables.map((one) => one.open);
    for (const one of tables) one.open = true;
    for (const chart of drawn.values()) chart.resize();
  });
  addEventListener("afterprint", () => {
    tables.forEach((one, index) => (one.open = open[index]));
    for (const chart of drawn.values()) chart.resize();
  });
}

for (const select of /** @type {NodeListOf<HTMLSelectElement>} */ (document.querySelectorAll(".board-range select")))
  select.addEventListener("change", () => select.form.requestSubmit());
start();
