// Formats numbers, durations and ages; `training/web/formatting.py` formats them the same way.

export const MISSING = "–";
// Larger numbers are shown in exponential notation.
const VAST = 1e10;
const isMissing = (value) =>
  value === null || value === undefined || value === "" || !Number.isFinite(Number(value));

/** A function that prints values of `metric`: {format, digits} as the server describes it. */
export function formatter({ format, digits }) {
  switch (format) {
    case "distance":
      return formatDistance;
    case "percent":
      return (value) => formatPercent(value);
    case "duration":
      return formatDuration;
    default:
      return (value) => formatNumber(value, Number(digits ?? 4));
  }
}

/** The same for the ticks of an axis, which are round numbers. */
export function tickFormatter(metric) {
  if (metric.format === "distance") return formatDistanceTick;
  return metric.format === "number" ? (value) => formatTick(value) : formatter(metric);
}

/** A fixed number of decimals, and commas between thousands; halves are rounded up. */
export function formatFixed(value, decimals = 0) {
  const options = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  // A zero has no sign.
  return Number(value)
    .toLocaleString("en-US", options)
    .replace(/^-([0.]+)$/, "$1");
}

/** Format meters: 34.2 m, 340 m, 3,400 m, 34.20 km. */
export function formatDistance(value) {
  if (isMissing(value)) return MISSING;
  const size = Math.abs(value);
  if (size >= VAST) return `${formatNumber(value / 1000)} km`;
  if (size >= 10000) return `${formatFixed(value / 1000, 2)} km`;
  return `${formatFixed(value, size >= 100 ? 0 : 1)} m`;
}

/** Format a round distance: 5 km, 200 m. */
function formatDistanceTick(value) {
  return Math.abs(value) >= 1000
    ? `${formatTick(value / 1000, 6)} km`
    : `${formatTick(value, 6)} m`;
}

/** Format with `digits` significant digits. */
export function formatNumber(value, digits = 4) {
  if (isMissing(value)) return MISSING;
  const number = Number(value),
    size = Math.abs(number);
  if (number === 0) return "0";
  if (size < 1e-3 || size >= 1e6) return number.toExponential(digits - 2).replace("e+", "e");
  return formatFixed(number, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
}

/** Format a round value of an axis, without zeros at the end: 0.05, 2500, 1.2e7. */
function formatTick(value, digits = 4) {
  const rounded = Number(value.toPrecision(digits)),
    size = Math.abs(rounded);
  if (rounded === 0) return "0";
  if (size >= 1e-3 && size < 1e6) return String(rounded);
  return rounded.toExponential().replace("e+", "e");
}

export function formatPercent(share, digits = 1) {
  if (isMissing(share)) return MISSING;
  if (Math.abs(share) >= VAST) return `${formatNumber(100 * share)} %`;
  return `${formatFixed(100 * share, digits)} %`;
}

/** 12 s, 5 min 3 s, 2 h 5 min, 3 d 4 h. */
export function formatDuration(seconds) {
  if (isMissing(seconds)) return MISSING;
  if (seconds >= VAST) return `${formatNumber(seconds / 86400)} d`;
  const whole = Math.max(0, Math.floor(Number(seconds) + 0.5));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Format the remaining time, rounded by at most a twentieth. */
export function formatEta(seconds) {
  if (isMissing(seconds)) return "";
  const limit = Math.max(1, 0.08 * seconds);
  const step = [1, 5, 30, 60, 300, 600, 3600].findLast((size) => size <= limit);
  const rounded = step * Math.floor(seconds / step + 0.5);
  return formatDuration(Math.max(1, rounded)).replace(/ 0 (s|min|h)/, "");
}

/** Number and unit of the training speed: ["2.1", "epochs/s"], ["12 s", "per epoch"]. */
export function formatRate(seconds) {
  if (isMissing(seconds) || seconds <= 0) return [MISSING, ""];
  if (seconds < 1) return [formatNumber(1 / seconds, 2), "epochs/s"];
  return [seconds >= 60 ? formatDuration(seconds) : `${formatNumber(seconds, 2)} s`, "per epoch"];
}

/** Format the age in its largest unit: 3 min ago. */
export function formatAge(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [unit, size] of [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
  ]) {
    if (whole >= size) return `${Math.floor(whole / size)} ${unit} ago`;
  }
  return `${whole} s ago`;
}

export function formatCount(value) {
  return Number(value).toLocaleString("en-US");
}

/** 12.3 MB, 4.0 kB, 12 B. */
export function formatSize(bytes) {
  if (isMissing(bytes)) return "";
  for (const [unit, step] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ])
    if (bytes >= step) return `${formatFixed(bytes / step, 1)} ${unit}`;
  return `${bytes} B`;
}
