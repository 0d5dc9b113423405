// One measured quantity: several samples, and what is said of them. It knows nothing of how they were measured.

/** A figure that varied by more is marked. */
const NOISY = 0.3;

export interface Figure {
  /** Such as `decode.context-128`. */
  readonly id: string;
  /** For people. */
  readonly label: string;
  readonly unit: string;
  /** Of tokens per second more is better, of seconds less. */
  readonly better: "more" | "less";
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly samples: number;
  /** Minimum and maximum are more than 30 % of the median apart. */
  readonly noisy: boolean;
}

export interface FigureName extends Pick<Figure, "id" | "label" | "unit" | "better"> {}

/** @param samples at least one */
export function figure(name: FigureName, samples: readonly number[]): Figure {
  const sorted = samples.toSorted((a, b) => a - b);
  const min = sorted[0];
  const max = sorted.at(-1);
  if (min === undefined || max === undefined) throw new RangeError(`No samples of ${name.id}.`);
  const median = medianOf(sorted);
  return {
    ...name,
    min,
    median,
    max,
    samples: sorted.length,
    noisy: max - min > NOISY * Math.abs(median),
  };
}

function medianOf(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]!
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** Three digits that count. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 1e-3))));
  return value.toFixed(Math.min(3, digits));
}
