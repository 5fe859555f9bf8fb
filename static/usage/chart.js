// @ts-check
// Bars over time, drawn by Chart.js. The table beside them has the same figures.

import { h } from "../shared/dom.js";

/** Chart.js, fetched when the first chart is drawn. */
async function loadLibrary() {
  try {
    await import("../vendor/chart/chart.js");
  } catch {
    throw new Error("The chart could not be drawn.");
  }
  return globalThis.Chart;
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

/** `show({label, labels, titles, series, format, short})` draws; `stop()` when the page is left. */
export function barChart() {
  const canvas = h("canvas", { role: "img", tabindex: "0" });
  const said = h("p", { class: "off-screen", "aria-live": "polite" });
  const trouble = h("p", { class: "empty", hidden: true });
  const el = h("div", { class: "usage-chart" }, canvas, said, trouble);
  let chart = null;
  let shown = null;
  let at = -1;

  async function show(next) {
    shown = next;
    at = -1;
    canvas.setAttribute("aria-label", `${next.label}. The arrow keys read it; the table below has the same figures.`);
    try {
      const Chart = await loadLibrary();
      if (shown === next && el.isConnected) draw(Chart);
    } catch (problem) {
      trouble.textContent = `${problem.message} The table below has the figures.`;
    }
    trouble.hidden = !trouble.textContent || Boolean(chart);
    canvas.hidden = !trouble.hidden;
  }

  function draw(Chart) {
    trouble.textContent = "";
    canvas.hidden = false;
    const { type, data, options } = picture(shown);
    if (!chart) return void (chart = new Chart(canvas, { type, data, options }));
    Object.assign(chart, { data, options });
    chart.update(still.matches ? "none" : undefined);
  }

  const recolour = () => chart && shown && draw(globalThis.Chart);
  const watch = new MutationObserver(recolour);

  canvas.addEventListener("keydown", (event) => {
    const last = (shown?.labels.length ?? 0) - 1;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last, Escape: -1 }[event.key];
    if (to === undefined || last < 0 || !chart) return;
    event.preventDefault();
    point(event.key === "Escape" ? -1 : Math.max(0, Math.min(last, to)));
  });
  canvas.addEventListener("blur", () => chart && point(-1));

  function point(index) {
    at = index;
    const points = index < 0 ? [] : shown.series.map((_, datasetIndex) => ({ datasetIndex, index }));
    chart.setActiveElements(points);
    chart.tooltip.setActiveElements(points, { x: 0, y: 0 });
    chart.update("none");
    const figures = shown.series.filter((one) => one.values[index]).map((one) => `${one.label} ${shown.format(one.values[index])}`);
    said.textContent = index < 0 ? "" : `${shown.titles[index]}: ${figures.join(", ") || "nothing"}`;
  }

  return {
    el,
    show,
    start() {
      watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
      dark.addEventListener("change", recolour);
    },
    stop() {
      watch.disconnect();
      dark.removeEventListener("change", recolour);
      chart?.destroy();
      chart = null;
    },
  };
}

/** What Chart.js is told: the colours of the moment. */
function picture({ labels, titles, series, format, short }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
  const ticks = { color: colour("--muted"), font };
  const datasets = series.map((one) => ({
    label: one.label,
    data: one.values,
    backgroundColor: colour(`--chart-${one.colour}`),
    hoverBackgroundColor: colour(`--chart-${one.colour}`),
    borderRadius: 2,
    maxBarThickness: 44,
    categoryPercentage: 0.86,
    barPercentage: 0.94,
  }));
  const tooltip = {
    backgroundColor: colour("--text"),
    titleColor: colour("--page"),
    bodyColor: colour("--page"),
    footerColor: colour("--page"),
    titleFont: { ...font, weight: "600" },
    bodyFont: font,
    padding: 10,
    boxPadding: 4,
    filter: ({ raw }) => raw !== 0,
    itemSort: (a, b) => b.raw - a.raw,
    callbacks: {
      title: ([first]) => (first ? titles[first.dataIndex] : ""),
      label: ({ dataset, raw }) => ` ${dataset.label}: ${format(raw)}`,
    },
  };
  // On a phone the table, whose lines have the same colours, is the legend of many groups.
  const legend = {
    display: series.length > 1 && (series.length < 4 || innerWidth > 600),
    position: "bottom",
    align: "start",
    labels: { color: colour("--muted"), font, boxWidth: 10, boxHeight: 10, padding: 14 },
  };
  return {
    type: "bar",
    data: { labels, datasets },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      animation: still.matches ? false : { duration: 250 },
      interaction: { mode: "index", intersect: false },
      scales: {
        x: {
          stacked: true,
          grid: { display: false },
          border: { color: colour("--line") },
          ticks: { ...ticks, maxRotation: 0, autoSkipPadding: 16 },
        },
        y: {
          stacked: true,
          beginAtZero: true,
          grid: { color: colour("--line"), drawTicks: false },
          border: { display: false },
          ticks: { ...ticks, padding: 8, maxTicksLimit: 6, callback: (value) => short(value) },
        },
      },
      plugins: { legend, tooltip },
    },
  };
}
