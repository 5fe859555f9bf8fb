// @ts-check
// What changed between two texts, line by line.

// Beyond this many lines a comparison would take longer than anybody wants to wait.
const MOST_LINES = 600;

/** The lines of two texts as `[sign, line]`, sign "+", "-" or " "; long unchanged stretches are left out as "…". */
export function promptLines(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  if (a.length > MOST_LINES || b.length > MOST_LINES) return [...a.map((line) => ["-", line]), ...b.map((line) => ["+", line])];
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  const lines = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) [lines.push([" ", a[i]]), (i += 1), (j += 1)];
    else if (i < a.length && (j >= b.length || common[i + 1][j] >= common[i][j + 1])) lines.push(["-", a[i++]]);
    else lines.push(["+", b[j++]]);
  }
  return nearChanges(lines);
}

function nearChanges(lines) {
  const near = (at) => lines.slice(Math.max(0, at - 2), at + 3).some(([sign]) => sign !== " ");
  return lines.flatMap((line, at) => (near(at) ? [line] : near(at - 1) || at === 0 ? [["…", ""]] : []));
}
