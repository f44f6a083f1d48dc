// Numbers as people read them; `training/words.py` says them in the same words.

export const NOTHING = "–";
const missing = (value) =>
  value === null || value === undefined || value === "" || !Number.isFinite(Number(value));

export function metres(value) {
  if (missing(value)) return NOTHING;
  const size = Math.abs(value);
  if (size >= 10000) return `${(value / 1000).toFixed(2)} km`;
  return `${Number(value).toFixed(size >= 100 ? 0 : 1)} m`;
}

/** For an axis, where the ticks are round. */
export function shortMetres(value) {
  return Math.abs(value) >= 1000
    ? `${Number((value / 1000).toPrecision(6))} km`
    : `${Number(value.toPrecision(6))} m`;
}

/** A number of so many significant digits. */
export function figure(value, digits = 4) {
  if (missing(value)) return NOTHING;
  const number = Number(value),
    size = Math.abs(number);
  if (number === 0) return "0";
  if (size < 1e-3 || size >= 1e6) return number.toExponential(digits - 2).replace("e+", "e");
  return number.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
}

export function shortFigure(value) {
  return String(Number(value.toPrecision(4)));
}

export function percent(share, digits = 1) {
  return missing(share) ? NOTHING : `${(100 * share).toFixed(digits)} %`;
}

export function duration(seconds) {
  if (missing(seconds)) return NOTHING;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** How long it may still take, rounded by no more than a twentieth. */
export function about(seconds) {
  if (missing(seconds)) return "";
  const step = [1, 5, 30, 60, 300, 600, 3600].findLast((one) => one <= Math.max(1, 0.08 * seconds));
  return duration(Math.max(1, step * Math.round(seconds / step))).replace(/ 0 (s|min|h)/, "");
}

/** How fast epochs of so many seconds come: ["2.1", "epochs/s"], ["12 s", "per epoch"]. */
export function rate(seconds) {
  if (missing(seconds) || seconds <= 0) return [NOTHING, ""];
  if (seconds < 1) return [figure(1 / seconds, 2), "epochs/s"];
  return [seconds >= 60 ? duration(seconds) : `${figure(seconds, 2)} s`, "per epoch"];
}

/** The largest unit alone. */
export function ago(seconds) {
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

export function count(value) {
  return Number(value).toLocaleString("en-US");
}
