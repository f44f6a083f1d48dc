// Numbers as people read them.

export function metres(value) {
  if (value === null || value === undefined || value === "") return "–";
  const number = Number(value);
  return number >= 10000 ? `${(number / 1000).toFixed(2)} km` : `${number.toFixed(0)} m`;
}

/** For an axis, where the ticks are round. */
export function metresShort(value) {
  return value >= 10000 ? `${Number((value / 1000).toPrecision(3))} km` : `${value} m`;
}

export function figure(value, digits = 4) {
  return value === null || value === undefined ? "–" : Number(value).toPrecision(digits);
}

export function percent(value) {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`;
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

export function clock(timestamp) {
  return new Date(timestamp).toLocaleTimeString();
}
