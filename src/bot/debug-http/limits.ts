// How much one client of the debug adapter may ask for. In: what was configured. Out: every limit, checked.

import { integer, object, withDefaults } from "../../parse-options.ts";

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
 * The check of `limits`, for whoever takes them among other options.
 *
 * @internal
 */
export const LIMITS_SCHEMA = object({
  maxBodyBytes: integer(1).optional(),
  maxPictureBytes: integer(1).optional(),
  maxPictures: integer(1).optional(),
  maxTextLength: integer(1).optional(),
  maxRequests: integer(1).optional(),
});

/** Completes limits that were checked already. */
export function resolveLimits(given: Partial<DebugServerLimits> = {}): DebugServerLimits {
  return withDefaults(DEFAULTS, given);
}
