// @ts-check
// Figures as people read them; the same rules as aiagents/dashboards/panels.py has for tables.

const SIZES = ["B", "KB", "MB", "GB", "TB"];

export function shown(value, unit, short = false) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const number = Number(value);
  switch (unit) {
    case "usd":
      return dollars(number, short);
    case "ms":
      return duration(number);
    case "share":
      return `${(number * 100).toFixed(short ? 0 : 1)}%`;
    case "percent":
      return `${number.toFixed(short ? 0 : 1)} %`;
    case "bytes":
      return bytes(number);
    case "rate":
      return number.toLocaleString("en-US", { maximumFractionDigits: 1 });
    default:
      if (short && Math.abs(number) >= 10000) return number.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
      return number.toLocaleString("en-US", { maximumFractionDigits: number < 10 ? 2 : 0 });
  }
}

function dollars(value, short) {
  const size = Math.abs(value);
  const sign = value < 0 ? "-" : "";
  if (short && size >= 10000) return `${sign}$${size.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 })}`;
  const places = size >= 1 || size === 0 ? 2 : Math.min(8, Math.max(2, 2 - Math.floor(Math.log10(size))));
  const text = size.toLocaleString("en-US", { minimumFractionDigits: short ? 0 : 2, maximumFractionDigits: places });
  return `${sign}$${text}`;
}

function duration(ms) {
  if (ms < 1000) return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60000)} min ${Math.floor((ms % 60000) / 1000)} s`;
}

function bytes(value) {
  let size = value;
  for (const name of SIZES) {
    if (Math.abs(size) < 1024 || name === "TB") return `${size.toFixed(name === "B" ? 0 : 1)} ${name}`;
    size /= 1024;
  }
  return "";
}

// Times that all lie in one day need no day, and those of one year no year.
export function moments(labels) {
  const times = labels.map((label) => /^(\d{4})-(\d\d-\d\d)(?: (\d\d:\d\d))?$/.exec(label));
  if (!labels.length || times.some((one) => !one)) return labels;
  const oneDay = new Set(times.map((one) => one[2])).size === 1 && times.some((one) => one[3]);
  if (oneDay) return times.map((one) => one[3] ?? "00:00");
  const oneYear = new Set(times.map((one) => one[1])).size === 1;
  return times.map((one) => (oneYear ? one[2] : `${one[1]}-${one[2]}`) + (one[3] ? ` ${one[3]}` : ""));
}
