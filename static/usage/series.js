// @ts-check
// The API's lines as what a chart draws.

// So many groups have a colour of their own; what the others used is drawn as one.
export const COLOURS = 7;

const FIELDS = { model: "model", agent: "agent_id", key: "api_key_id" };
const NOBODY = { agent: "Without an agent", key: "Without a key" };

/** What a line is about: `id` for filters ("" where there is none), `label` for people. */
export function subjectOf(line, by) {
  const id = line[FIELDS[by]] ?? "";
  return { id, label: id ? (line.label ?? id) : (NOBODY[by] ?? line.label ?? "") };
}

const MEASURED = {
  cost: (line) => Number(line.cost_usd),
  requests: (line) => line.calls,
  tokens: (line) => line.input_tokens + line.output_tokens,
};
const PARTS = {
  cost: [["Cost", (line) => Number(line.cost_usd)]],
  requests: [
    ["Ended well", (line) => line.calls - line.failed_calls],
    ["Failed", (line) => line.failed_calls],
  ],
  tokens: [
    ["In", (line) => line.input_tokens - line.cached_input_tokens],
    ["In, from the cache", (line) => line.cached_input_tokens],
    ["Out", (line) => line.output_tokens],
  ],
};

/** `[{label, colour, values}]`, a value for each of `starts`. `groups` are the table's lines, dearest first; `lines` are theirs per hour or day. */
export function seriesOf({ by, show }, { starts, bucket, groups, lines }) {
  const at = new Map(starts.map((start, index) => [start, index]));
  const empty = () => starts.map(() => 0);
  if (by === "day")
    return PARTS[show].map(([label, value], index) => {
      const values = empty();
      for (const line of lines) if (at.has(line[bucket])) values[at.get(line[bucket])] += value(line);
      return { label, colour: index + 1, values };
    });
  const rank = new Map(groups.map((line, index) => [subjectOf(line, by).id, index]));
  const series = groups.slice(0, COLOURS).map((line, index) => ({ label: subjectOf(line, by).label, colour: index + 1, values: empty() }));
  const rest = groups.slice(COLOURS);
  if (rest.length) series.push({ label: rest.length > 1 ? "Others" : subjectOf(rest[0], by).label, colour: 0, values: empty() });
  for (const line of lines) {
    const one = series[Math.min(rank.get(subjectOf(line, by).id) ?? COLOURS, COLOURS)];
    if (one && at.has(line[bucket])) one.values[at.get(line[bucket])] += MEASURED[show](line);
  }
  return series;
}
