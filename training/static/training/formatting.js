// Formats numbers, durations and ages; `training/web/formatting.py` formats them the same way.

export const MISSING = "–";
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
  return metric.format === "number" ? formatNumberTick : formatter(metric);
}

/** Format metres: 34.2 m, 340 m, 34.20 km. */
export function formatDistance(value) {
  if (isMissing(value)) return MISSING;
  const size = Math.abs(value);
  if (size >= 10000) return `${(value / 1000).toFixed(2)} km`;
  return `${Number(value).toFixed(size >= 100 ? 0 : 1)} m`;
}

function formatDistanceTick(value) {
  return Math.abs(value) >= 1000
    ? `${Number((value / 1000).toPrecision(6))} km`
    : `${Number(value.toPrecision(6))} m`;
}

/** Format with `digits` significant digits. */
export function formatNumber(value, digits = 4) {
  if (isMissing(value)) return MISSING;
  const number = Number(value),
    size = Math.abs(number);
  if (number === 0) return "0";
  if (size < 1e-3 || size >= 1e6) return number.toExponential(digits - 2).replace("e+", "e");
  return number.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
}

function formatNumberTick(value) {
  return String(Number(value.toPrecision(4)));
}

export function formatPercent(share, digits = 1) {
  return isMissing(share) ? MISSING : `${(100 * share).toFixed(digits)} %`;
}

/** 12 s, 5 min 3 s, 2 h 5 min, 3 d 4 h. */
export function formatDuration(seconds) {
  if (isMissing(seconds)) return MISSING;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Format the remaining time, rounded by at most a twentieth. */
export function formatEta(seconds) {
  if (isMissing(seconds)) return "";
  const step = [1, 5, 30, 60, 300, 600, 3600].findLast((one) => one <= Math.max(1, 0.08 * seconds));
  return formatDuration(Math.max(1, step * Math.round(seconds / step))).replace(/ 0 (s|min|h)/, "");
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
