// Numbers between two bounds, as regular expressions over their decimal digits: an automaton cannot compare, but it can
// compare digit by digit. In: bounds. Out: patterns for numbers as JSON writes them, without exponents.

export interface Bound {
  readonly value: number;
  /** The bound itself is not meant. */
  readonly exclusive: boolean;
}

/** Plain digits, with the sign apart. */
interface Decimal {
  readonly negative: boolean;
  readonly whole: string;
  /** Without zeros at its end. */
  readonly fraction: string;
}

/** Any number of the sign, in JSON's spelling. */
const MAGNITUDE = "(?:0|[1-9]\\d*)(?:\\.\\d+)?";
const NOTHING = "[^\\u{0}-\\u{10FFFF}]";

export function numbersFrom({ value, exclusive }: Bound): string {
  const bound = decimalOf(value);
  if (bound.negative) return `(?:${MAGNITUDE}|-(?:${upTo(bound, exclusive)}))`;
  return from(bound, exclusive);
}

export function numbersUpTo({ value, exclusive }: Bound): string {
  const bound = decimalOf(value);
  if (bound.negative) return `-(?:${from(bound, exclusive)})`;
  // Whatever has a sign is below zero, or zero itself where that counts.
  const negative = exclusive && value === 0 ? from(bound, true) : MAGNITUDE;
  return `(?:${upTo(bound, exclusive)}|-(?:${negative}))`;
}

/** At least so much. */
function from({ whole, fraction }: Decimal, exclusive: boolean): string {
  const longer = `[1-9]\\d{${whole.length},}(?:\\.\\d+)?`;
  const greater = [...whole].map((digit, i) =>
    digitAbove(digit, `${whole.slice(0, i)}`, `\\d{${whole.length - i - 1}}(?:\\.\\d+)?`),
  );
  const above = [...fraction].map((digit, i) =>
    digitAbove(digit, `${whole}\\.${fraction.slice(0, i)}`, "\\d*"),
  );
  const dot = fraction === "" ? "\\." : `\\.${fraction}`;
  const equal = exclusive
    ? `${whole}${dot}\\d*[1-9]\\d*`
    : fraction === ""
      ? `${whole}(?:\\.\\d+)?`
      : `${whole}${dot}\\d*`;
  return [longer, ...greater, ...above, equal].filter((part) => part !== NOTHING).join("|");
}

/** At most so much. */
function upTo({ whole, fraction }: Decimal, exclusive: boolean): string {
  const anyFraction = "(?:\\.\\d+)?";
  const shorter = whole.length > 1 ? [`(?:0|[1-9]\\d{0,${whole.length - 2}})${anyFraction}`] : [];
  const smaller = [...whole].map((digit, i) => {
    const lowest = i === 0 && whole.length > 1 ? 1 : 0;
    return digitBelow(
      digit,
      lowest,
      whole.slice(0, i),
      `\\d{${whole.length - i - 1}}${anyFraction}`,
    );
  });
  const below = [...fraction].flatMap((digit, i) => {
    const before = fraction.slice(0, i);
    const same = i === 0 ? `${whole}(?:\\.0+)?` : `${whole}\\.${before}0*`;
    return [digitBelow(digit, 0, `${whole}\\.${before}`, "\\d*"), same];
  });
  const itself = fraction === "" ? `${whole}(?:\\.0+)?` : `${whole}\\.${fraction}0*`;
  const parts = [...shorter, ...smaller, ...below, exclusive ? NOTHING : itself];
  const possible = parts.filter((part) => part !== NOTHING);
  return possible.length === 0 ? NOTHING : possible.join("|");
}

function digitAbove(digit: string, before: string, behind: string): string {
  return digit === "9" ? NOTHING : `${before}[${Number(digit) + 1}-9]${behind}`;
}

function digitBelow(digit: string, lowest: number, before: string, behind: string): string {
  return Number(digit) <= lowest ? NOTHING : `${before}[${lowest}-${Number(digit) - 1}]${behind}`;
}

function decimalOf(value: number): Decimal {
  const [mantissa = "0", exponent = "0"] = Math.abs(value).toString().split("e");
  const [whole = "0", fraction = ""] = mantissa.split(".");
  const shift = Number(exponent);
  const digits = whole + fraction;
  const point = whole.length + shift;
  const padded = digits.padStart(digits.length + Math.max(0, 1 - point), "0");
  const at = Math.max(1, point);
  return {
    negative: value < 0,
    whole: padded
      .slice(0, at)
      .padEnd(at, "0")
      .replace(/^0+(?=\d)/u, ""),
    fraction: padded.slice(at).replace(/0+$/u, ""),
  };
}
