// Which frames of an animation are worth seeing. In: a small copy of every frame. Out: the indices of a few, in order.
// It knows no files and no formats.

/** A small copy of a frame, over white: (pixels, 3). All of one animation have the same size. */
export type Thumbnail = Uint8Array;

/** Levels that a decoder's own noise spreads over. */
const BLANK_SPREAD = 6;

/**
 * Mean difference of two frames, in levels of 0..255, below which they show the same: a trembling outline is about 2, another
 * face or a line of text 8 and more.
 */
const SAME_SHOWN = 4;

/**
 * The most different frames, at most `maxFrames`, in order.
 *
 * Frames with nothing in them are passed over; if all are empty, the first is as good as any.
 */
export function chooseFrames(
  thumbnails: readonly Thumbnail[],
  maxFrames: number,
): readonly number[] {
  const shown = [...thumbnails.keys()].filter((index) => !isBlank(thumbnails[index]!));
  const [first] = shown;
  if (first === undefined) return [0];
  const chosen = [first];
  // How far each frame is from the nearest of the chosen ones.
  const distances = new Map(shown.map((index) => [index, Number.POSITIVE_INFINITY]));
  while (chosen.length < maxFrames) {
    const latest = thumbnails[chosen.at(-1)!]!;
    let farthest = first;
    for (const [index, distance] of distances) {
      const nearer = Math.min(distance, difference(thumbnails[index]!, latest));
      distances.set(index, nearer);
      if (nearer > distances.get(farthest)!) farthest = index;
    }
    if (distances.get(farthest)! < SAME_SHOWN) break;
    chosen.push(farthest);
  }
  return chosen.sort((a, b) => a - b);
}

/** One colour all over. */
function isBlank(thumbnail: Thumbnail): boolean {
  const low = [255, 255, 255];
  const high = [0, 0, 0];
  for (let i = 0; i < thumbnail.length; i++) {
    low[i % 3] = Math.min(low[i % 3]!, thumbnail[i]!);
    high[i % 3] = Math.max(high[i % 3]!, thumbnail[i]!);
  }
  return low.every((value, channel) => high[channel]! - value <= BLANK_SPREAD);
}

function difference(a: Thumbnail, b: Thumbnail): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!);
  return sum / a.length;
}
