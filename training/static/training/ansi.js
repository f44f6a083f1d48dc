// Terminal output as text with classes: ANSI colors, carriage returns, control characters.
// `training/web/terminal.py` folds lines the same way for pages without JavaScript.

// CSI sequences, OSC sequences (titles, links), and other escapes of one character.
const ESCAPE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal receives
  /\x1b\[([0-9;:<=>?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[@-Z\\^_]?/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal receives
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;

/** What a terminal shows of a line that carriage returns overwrite, as progress bars do. */
export function foldReturns(line) {
  if (!line.includes("\r")) return line;
  const segments = line.replace(/\r+$/, "").split("\r");
  const shown = segments.findLast((one) => one.replace(ESCAPE, "") !== "") ?? "";
  return line.endsWith("\r") ? `${shown}\r` : shown;
}

export function plainText(line) {
  return foldReturns(line).replace(ESCAPE, "").replace(CONTROL, "").replace(/\r/g, "");
}

export const DEFAULT_STYLE = Object.freeze({ classes: "" });
const ATTRIBUTES = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const RESETS = {
  22: ["bold", "dim"],
  23: ["italic"],
  24: ["underline"],
  27: ["inverse"],
  29: ["strike"],
};

/** The nearest of the eight basic colors and their bright forms. */
function nearestColor(red, green, blue) {
  const brightest = Math.max(red, green, blue);
  if (brightest < 48) return 0;
  const bit = (value) => (value > brightest / 2 ? 1 : 0);
  return bit(red) + 2 * bit(green) + 4 * bit(blue) + (brightest > 192 ? 8 : 0);
}

function paletteColor(index) {
  if (index < 16) return index;
  if (index >= 232) return [0, 8, 7, 15][Math.min(3, Math.floor((index - 232) / 6))];
  const level = (value) => (value ? 55 + 40 * value : 0);
  const cube = index - 16;
  return nearestColor(
    level(Math.floor(cube / 36)),
    level(Math.floor(cube / 6) % 6),
    level(cube % 6),
  );
}

/** The style after the codes of one "select graphic rendition" sequence. */
function applyCodes(style, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  let next = { ...style };
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index];
    const ground = code < 40 || (code >= 90 && code < 100) ? "fg" : "bg";
    if (code === 0) next = {};
    else if (ATTRIBUTES[code]) next[ATTRIBUTES[code]] = true;
    else if (RESETS[code]) for (const name of RESETS[code]) delete next[name];
    else if (code === 38 || code === 48) {
      if (codes[index + 1] === 5) next[ground] = paletteColor(codes[index + 2] & 255);
      else if (codes[index + 1] === 2)
        next[ground] = nearestColor(...codes.slice(index + 2, index + 5));
      index += codes[index + 1] === 5 ? 2 : 4;
    } else if (code === 39 || code === 49) delete next[ground];
    else if ((code >= 30 && code < 38) || (code >= 40 && code < 48)) next[ground] = code % 10;
    else if ((code >= 90 && code < 98) || (code >= 100 && code < 108))
      next[ground] = 8 + (code % 10);
  }
  return withClasses(next);
}

function withClasses({ classes: _, ...style }) {
  const named = Object.entries(style).sort(([one], [other]) => (one < other ? -1 : 1));
  const names = named.map(([name, value]) =>
    name === "fg" || name === "bg" ? `ansi-${name}-${value}` : `ansi-${name}`,
  );
  return { ...style, classes: names.join(" ") };
}

/** `{spans: [{text, classes}], style}`: the parts of a line, and the style that the next begins with. */
export function parseLine(line, style = DEFAULT_STYLE) {
  const spans = [];
  const text = foldReturns(line).replace(/\r$/, "");
  const push = (part) => {
    const shown = part.replace(CONTROL, "");
    if (shown) spans.push({ text: shown, classes: style.classes });
  };
  let last = 0;
  for (const match of text.matchAll(ESCAPE)) {
    push(text.slice(last, match.index));
    last = match.index + match[0].length;
    if (match[2] === "m") style = applyCodes(style, match[1] || "0");
  }
  push(text.slice(last));
  return { spans, style };
}
