// @ts-check
// Use over time: period, grouping and measure in the address; bars, and a table with the same figures.

import { get } from "../shared/api.js";
import { emit } from "../shared/bus.js";
import { fill, h, icon } from "../shared/dom.js";
import { saveUsage } from "./export.js";
import { count, roughUsd, usd } from "../shared/format.js";
import { section } from "../shared/section.js";
import { addressOf, choiceOf, filtersOf, GROUPS, MEASURES, rangeOf, shownStart, startsOf } from "./address.js";
import { barChart } from "./chart.js";
import { periodBar, segments } from "./controls.js";
import { COLOURS, seriesOf, subjectOf } from "./series.js";
import { sumUsd } from "./sum_usd.js";
import { sortableTable } from "./table.js";

const HERE = "/usage";
const whole = (value) => value.toLocaleString("en");
const sum = (name) => (lines) => whole(lines.reduce((all, line) => all + line[name], 0));

/** `month()` gives the summary: where the month begins. */
export function spendPanel(go, month) {
  const period = periodBar(HERE, go);
  const groups = segments("Group by", GROUPS);
  const measures = segments("Show", MEASURES);
  const chart = barChart();
  const table = sortableTable();
  const body = h("div", { class: "spend-body" });
  const exportButton = h("button", { type: "button", class: "button small", onclick: exportNow }, icon("download", 15), "Export CSV");
  let choice = null;
  let drawn = null; // the choice and the figures on screen

  const load = section(body, (found) => {
    drawn = found;
    draw();
  });

  async function figures(wanted) {
    const range = rangeOf(wanted, wanted.period === "month" ? await month() : null);
    const filters = { from: range.from.toISOString(), to: range.to?.toISOString() };
    const timed = () => get("billing/usage", { ...filters, group_by: range.bucket });
    if (wanted.by === "day") {
      const { results } = await timed();
      return { by: "day", bars: "day", bucket: range.bucket, starts: startsOf(range), groups: results, lines: results };
    }
    const [grouped, split] = await Promise.all([
      get("billing/usage", { ...filters, group_by: wanted.by }),
      get("billing/usage", { ...filters, group_by: wanted.by, bucket: range.bucket }).catch((problem) =>
        problem.status === 400 ? null : Promise.reject(problem),
      ),
    ]);
    // Too many groups and days for one answer: then the bars are not split.
    return {
      by: wanted.by,
      bars: split ? wanted.by : "day",
      bucket: range.bucket,
      starts: startsOf(range),
      groups: grouped.results,
      lines: (split ?? (await timed())).results,
    };
  }

  function draw() {
    if (!drawn.groups.length)
      return void fill(
        body,
        h("div", { class: "empty" }, h("p", {}, "Nothing was used in this time."), h("a", { class: "button", href: "/" }, "Ask something")),
      );
    fill(
      body,
      chart.el,
      table.el,
      h("p", { class: "fine" }, drawn.bucket === "hour" ? "Hours are in your time." : "A day runs from midnight to midnight UTC."),
    );
    const { show } = choice;
    const title = `${MEASURES[show]} ${drawn.bucket === "hour" ? "by hour" : "by day"}${drawn.bars === "day" ? "" : `, stacked by ${GROUPS[drawn.bars]}`}`;
    chart.show({
      label: title,
      labels: drawn.starts.map((start) => shownStart(start, drawn.bucket === "hour" && drawn.starts.length > 24)),
      titles: drawn.starts.map((start) => shownStart(start, true)),
      series: seriesOf({ by: drawn.bars, show }, drawn),
      format: show === "cost" ? (value) => usd(value) : whole,
      short: show === "cost" ? (value) => (value ? roughUsd(value) : "$0") : count,
    });
    table.show(
      columns(),
      drawn.groups,
      `${GROUPS[drawn.by] === "Total" ? "Use" : `Use by ${GROUPS[drawn.by]}`} in the chosen time`,
      drawn.by === "day" ? "start" : "cost_usd",
    );
  }

  function columns() {
    const timed = drawn.by === "day";
    const name = timed
      ? {
          name: "start",
          label: drawn.bucket === "hour" ? "Hour" : "Day",
          key: (line) => line[drawn.bucket],
          cell: (line) => dayCell(line, drawn.bucket, choice),
          total: () => "All",
        }
      : {
          name: "subject",
          label: GROUPS[drawn.by],
          key: (line) => subjectOf(line, drawn.by).label,
          cell: (line) => subjectCell(line, choice, drawn),
          total: () => "All",
        };
    const number = (field, label) => ({
      name: field,
      label,
      number: true,
      key: (line) => line[field],
      cell: (line) => whole(line[field]),
      total: sum(field),
    });
    const money = (field, label) => ({
      name: field,
      label,
      number: true,
      key: (line) => Number(line[field]),
      cell: (line) => h("span", { title: `Exactly $${line[field]}` }, usd(line[field])),
      total: (lines) => usd(sumUsd(lines.map((line) => line[field]))),
    });
    return [
      name,
      money("cost_usd", "Cost"),
      number("calls", "Requests"),
      number("failed_calls", "Failed"),
      number("input_tokens", "Tokens in"),
      number("cached_input_tokens", "Cached"),
      number("output_tokens", "Tokens out"),
      money("saved_usd", "Saved"),
    ];
  }

  async function exportNow() {
    exportButton.disabled = true;
    try {
      const range = rangeOf(choice, choice.period === "month" ? await month() : null);
      const { from, to } = filtersOf(choice, range);
      await saveUsage({ from, to }, `usage-${choice.period === "custom" ? `${choice.from}-${choice.to}` : choice.period}`);
    } catch (problem) {
      emit("problem", problem);
    } finally {
      exportButton.disabled = false;
    }
  }

  return {
    el: h(
      "section",
      { class: "panel", "aria-label": "Use over time" },
      h("div", { class: "panel-head" }, h("h2", {}, "Over time"), exportButton),
      period.el,
      h("div", { class: "chosen" }, groups.el, measures.el),
      body,
    ),
    show(query, fresh) {
      const next = choiceOf(query);
      const same = choice && !fresh && ["period", "from", "to", "by"].every((name) => next[name] === choice[name]);
      choice = next;
      period.show(next);
      groups.show(next.by, (by) => addressOf(HERE, { ...next, by }));
      measures.show(next.show, (show) => addressOf(HERE, { ...next, show }));
      chart.start();
      if (same && drawn && body.contains(table.el)) return draw();
      return load(() => figures(next));
    },
    again: () => load(() => figures(choice)),
    leave: chart.stop,
  };
}

function dayCell(line, bucket, choice) {
  const start = line[bucket];
  if (bucket === "hour") return shownStart(start, true);
  return h("a", { href: addressOf("/usage/calls", { ...choice, period: "custom", from: start, to: start }) }, shownStart(start, true));
}

function subjectCell(line, choice, { by, groups }) {
  const { id, label } = subjectOf(line, by);
  const rank = groups.indexOf(line);
  const swatch = h("span", { class: "swatch", "aria-hidden": "true", data: { colour: String(rank < COLOURS ? rank + 1 : 0) } });
  return [swatch, id ? h("a", { href: addressOf("/usage/calls", { ...choice, [by]: id }), title: `The calls of ${label}` }, label) : label];
}
