// What an answer to a request for a part of a file holds. In: status and headers. Out: a part, the whole file, or an
// error. The status alone decides nothing: one hub says 200 to a part, CDNs say 206 to something else.

import type { ByteRange } from "./byte-ranges.ts";
import type { HttpAnswer } from "./http-client.ts";
import { PassingError } from "./tries.ts";

/** Where the bytes of the body belong. */
export type AnsweredBytes = ByteRange & { readonly isWhole: boolean };

/** A server may send less than was asked for, but not a byte at a time. */
const LEAST_PART_BYTES = 2 ** 16;

/**
 * @param wanted the part that was asked for
 * @throws PassingError for bytes that belong elsewhere
 */
export function answeredBytes(
  { status, headers }: HttpAnswer,
  wanted: ByteRange,
  size: number,
  host: string,
): AnsweredBytes {
  const length =
    headers["content-length"] === undefined ? undefined : Number(headers["content-length"]);
  const packed = !/^(?:identity)?$/i.test((headers["content-encoding"] ?? "").trim());
  const found = /^\s*bytes\s+(\d+)-(\d+)\/(\d+|\*)\s*$/.exec(headers["content-range"] ?? "");
  if (found !== null) {
    const [start, last] = [Number(found[1]), Number(found[2])];
    const isTotal = found[3] === "*" || Number(found[3]) === size;
    if (packed || !isTotal || start !== wanted.start || last < start) {
      throw new PassingError(`${host} sent another part than was asked for`, { status });
    }
    if (last + 1 < wanted.end && last - start < LEAST_PART_BYTES) {
      throw new PassingError(`${host} sends crumbs of what is asked for`, { status });
    }
    return { start, end: Math.min(last + 1, wanted.end), isWhole: false };
  }
  if (headers["content-range"] !== undefined) {
    throw new PassingError(`${host} sent a part and said wrongly which`, { status });
  }
  if (status === 206) {
    if (!packed && length === wanted.end - wanted.start) return { ...wanted, isWhole: false };
    throw new PassingError(`${host} sent a part and did not say which`, { status });
  }
  const isPage = /html/i.test(headers["content-type"] ?? "");
  if (!isPage && (packed || length === undefined || length === size)) {
    return { start: 0, end: size, isWhole: true };
  }
  const what = isPage ? "a web page" : `${length} bytes`;
  throw new PassingError(`${host} sent ${what} in place of a file of ${size} bytes`, { status });
}
