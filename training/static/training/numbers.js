// Numbers as people type them, read as in `training/typed_numbers.py`.

/** The number that the text means, with a decimal point or comma; throws an Error with the reason. */
export function parseNumber(text) {
  const typed = text.trim().replace("\u2212", "-");
  const found = /^([+-]?)(\d*),(\d+)((?:[eE][+-]?\d+)?)$/.exec(typed);
  if (!found) {
    if (typed.includes(",") && /^[+-]?[\d.,]+$/.test(typed))
      throw new Error(`“${typed}” is not a number; write it without separators between thousands.`);
    // Number() would read "" as 0, and "0x10" and "Infinity" as numbers.
    const number = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(typed) ? Number(typed) : NaN;
    if (!Number.isFinite(number)) throw new Error(`“${typed}” is not a number.`);
    return number;
  }
  const [, sign, whole, decimals, exponent] = found;
  if (decimals.length === 3 && /[1-9]/.test(whole) && whole.length <= 3 && !exponent)
    throw new Error(
      `“${typed}” can mean ${sign}${whole}.${decimals} or ${sign}${whole}${decimals}; write one of these.`,
    );
  return Number(`${sign}${whole || 0}.${decimals}${exponent}`);
}
