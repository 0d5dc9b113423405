// How much one client of the debug adapter may ask for. In: what was configured. Out: every limit, checked.

/** Limits of the debug adapter. What is over one of them is refused with a 413 or a 503. */
export interface DebugServerLimits {
  /** Whole body of a request, base64 and all, in bytes. @default 67108864 */
  readonly maxBodyBytes: number;
  /** One decoded picture, in bytes. @default 20971520 */
  readonly maxPictureBytes: number;
  /** Pictures of one message. @default 16 */
  readonly maxPictures: number;
  /** Characters of one message. @default 32768 */
  readonly maxTextLength: number;
  /** Messages being read or answered at the same time. @default 256 */
  readonly maxRequests: number;
}

const DEFAULTS: DebugServerLimits = {
  maxBodyBytes: 64 * 1024 * 1024,
  maxPictureBytes: 20 * 1024 * 1024,
  maxPictures: 16,
  maxTextLength: 32_768,
  maxRequests: 256,
};

/**
 * Fills in what was left out.
 *
 * @throws {TypeError} for an unknown limit. @throws {RangeError} for one that is no integer >= 1.
 */
export function resolveLimits(given: Partial<DebugServerLimits> = {}): DebugServerLimits {
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULTS, key)) {
      throw new TypeError(
        `Unknown limit \`${key}\`. Known are ${Object.keys(DEFAULTS).join(", ")}.`,
      );
    }
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(
        `Expected \`limits.${key}\` to be an integer >= 1, got \`${value}\` (${typeof value})`,
      );
    }
  }
  return { ...DEFAULTS, ...given };
}
