// How long properties are tried. In `npm test`: a fixed seed and a bound of time, so that two runs are alike.
// In `npm run test:fuzz` (FUZZ_SECONDS): another seed each time, for as many seconds for each property.

import fc from "fast-check";

const SECONDS = Number(process.env.FUZZ_SECONDS ?? 0);

/** What `fc.assert` is told; a failure prints its seed and the smallest example. */
export function effort(numRuns = 300): fc.Parameters<unknown> {
  if (SECONDS > 0) {
    return { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: SECONDS * 1000 };
  }
  return { numRuns, seed: 20_261_126, interruptAfterTimeLimit: 8_000 };
}

/**
 * `fc.assert` of an asynchronous property, which also waits for the example that time ran out for: it is left in the
 * middle, and may have in hands what the next test needs.
 */
export async function holds<Ts>(property: fc.IAsyncProperty<Ts>, numRuns?: number): Promise<void> {
  const run = property.run.bind(property);
  let last: Promise<unknown> = Promise.resolve();
  property.run = (example) => {
    const running = run(example);
    last = running;
    return running;
  };
  try {
    await fc.assert(property, effort(numRuns));
  } finally {
    await last;
  }
}

/** Bytes with a few of them changed, cut out or put in. */
export function damaged(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  const edit = fc.record({
    at: fc.nat(Math.max(0, bytes.length - 1)),
    remove: fc.nat(8),
    insert: fc.uint8Array({ maxLength: 8 }),
  });
  return fc
    .tuple(fc.array(edit, { minLength: 1, maxLength: 6 }), fc.nat(bytes.length))
    .map(([edits, cut]) => {
      let data: Uint8Array = bytes;
      for (const { at, remove, insert } of edits) {
        const rest = data.subarray(Math.min(data.length, at + remove));
        data = Buffer.concat([data.subarray(0, at), insert, rest]);
      }
      // One in a few is cut off as well.
      return cut % 3 === 0 ? data.subarray(0, cut) : data;
    });
}

/** A JSON value with some of its values replaced by any other. */
export function disturbed(json: unknown): fc.Arbitrary<unknown> {
  return fc
    .array(fc.tuple(fc.nat(), fc.jsonValue({ maxDepth: 2 })), { minLength: 1, maxLength: 4 })
    .map((changes) => {
      let copy = structuredClone(json);
      for (const [where, value] of changes) copy = replaceOne(copy, where, value);
      return copy;
    });
}

/** Replaces the value at the end of a path that a number picks. */
function replaceOne(json: unknown, where: number, value: unknown): unknown {
  if (typeof json !== "object" || json === null) return value;
  const keys = Object.keys(json);
  if (keys.length === 0 || where % 11 === 0) return value;
  const key = keys[where % keys.length]!;
  const inner: unknown = Reflect.get(json, key);
  Reflect.set(json, key, replaceOne(inner, Math.floor(where / keys.length), value));
  return json;
}
