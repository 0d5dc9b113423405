// How large a picture is made before it is cut into patches.
// In: its size and a budget in pixels. Out: sides that are multiples of the merge block. It touches no pixels.

/** Sides in pixels. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** Areas in pixels (not edges), as `size.shortest_edge` and `size.longest_edge` of a checkpoint. */
export interface PixelBudget {
  /** Side of a merge block in pixels: patch size times merge size, 32 for Qwen3-VL. */
  readonly factor: number;
  readonly minPixels: number;
  readonly maxPixels: number;
}

/** The reference refuses pictures that are more elongated than this. */
const MAX_ASPECT_RATIO = 200;

/**
 * The reference's `smart_resize`, operation for operation: halves round to even, and the original sides feed the scale.
 *
 * The result may lie a little outside the budget; the reference does not check again either.
 *
 * @throws RangeError when one side is more than 200 times the other.
 */
export function smartResize(size: ImageSize, budget: PixelBudget): ImageSize {
  const { width, height } = size;
  const { factor, minPixels, maxPixels } = budget;
  const aspectRatio = Math.max(height, width) / Math.min(height, width);
  if (aspectRatio > MAX_ASPECT_RATIO) {
    throw new RangeError(
      `absolute aspect ratio must be smaller than ${MAX_ASPECT_RATIO}, got ${pythonFloat(aspectRatio)}`,
    );
  }
  const rounded = {
    width: roundHalfToEven(width / factor) * factor,
    height: roundHalfToEven(height / factor) * factor,
  };
  const area = rounded.width * rounded.height;
  if (area > maxPixels) return roundDownTo(maxPixels, size, factor);
  if (area < minPixels) {
    const beta = Math.sqrt(minPixels / (height * width));
    return {
      width: Math.ceil((width * beta) / factor) * factor,
      height: Math.ceil((height * beta) / factor) * factor,
    };
  }
  return rounded;
}

/**
 * {@link smartResize} for whatever people send: never throws, never exceeds `maxPixels` unless by its one block.
 *
 * Where the reference stays inside the budget the answer is the same. A picture more elongated than the reference or
 * the budget allows is treated as if its short side were longer: the whole of it is stretched, nothing is cut off.
 */
export function fitToBudget(size: ImageSize, budget: PixelBudget): ImageSize {
  const { factor, maxPixels } = budget;
  const within = ({ width, height }: ImageSize) => width * height <= maxPixels;
  const capped = capAspectRatio(size, MAX_ASPECT_RATIO);
  const exact = smartResize(capped, budget);
  if (within(exact)) return exact;
  // More elongated than the budget has blocks, or rounded up past a maximum that is close to the minimum.
  const blocks = Math.max(1, Math.floor(maxPixels / factor ** 2));
  return roundDownTo(maxPixels, capAspectRatio(capped, Math.min(MAX_ASPECT_RATIO, blocks)), factor);
}

/** The largest sides of about this aspect ratio that stay within `maxPixels`; one block at least. */
function roundDownTo(maxPixels: number, { width, height }: ImageSize, factor: number): ImageSize {
  // Each operation in the reference's order: the last bit decides where a quotient is whole.
  const beta = Math.sqrt((height * width) / maxPixels);
  return {
    width: Math.max(factor, Math.floor(width / beta / factor) * factor),
    height: Math.max(factor, Math.floor(height / beta / factor) * factor),
  };
}

function capAspectRatio({ width, height }: ImageSize, maxRatio: number): ImageSize {
  return {
    width: Math.max(width, Math.ceil(height / maxRatio)),
    height: Math.max(height, Math.ceil(width / maxRatio)),
  };
}

/** Python's `round`: 10.5 is 10, 11.5 is 12. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** As Python prints a float, so that the message is the reference's own. */
function pythonFloat(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
