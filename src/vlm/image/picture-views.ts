// What of a picture file the model is shown: the picture, or the frames of an animation, or the pieces of a long
// screenshot, or what came of a file that was cut off. In: bytes. Out: pixels, with what is said about them.
// It knows nothing of patches, of caches or of prompts.

import { ImageDecodeError } from "../errors.ts";
import type { TimeSlice } from "../event-loop/time-slice.ts";
import { type Animation, openAnimation } from "./animation.ts";
import { decodeCutFile } from "./cut-file.ts";
import { decodeImage, type ImageLimits } from "./decode-image.ts";
import { chooseFrames } from "./frame-choice.ts";
import type { PictureNotes } from "./picture-notes.ts";
import type { AlphaMode, RgbImage } from "./rgb-image.ts";
import type { PixelBudget } from "./smart-resize.ts";
import { cropTile, planTiles } from "./tiles.ts";

export interface ViewOptions {
  readonly limits: Required<ImageLimits>;
  readonly alpha: AlphaMode;
  /** Of a still picture; the frames of an animation share it, each piece of a long picture has it. */
  readonly budget: PixelBudget;
  readonly maxFrames: number;
  readonly maxTiles: number;
  readonly notes: PictureNotes;
}

/** One thing to look at. */
export interface View {
  readonly image: RgbImage;
  readonly budget: PixelBudget;
  /** Text in front of it and behind it in the prompt. */
  readonly before: string;
  readonly after: string;
}

/**
 * Everything a file has to show, in order; at least one view.
 *
 * @throws {ImageDecodeError} as {@link decodeImage} does
 * @throws the reason of the slice's signal
 */
export async function readViews(
  data: Uint8Array,
  options: ViewOptions,
  slice: TimeSlice,
): Promise<readonly View[]> {
  const { limits, alpha } = options;
  const frames = await readFrames(data, options, slice);
  if (frames !== undefined) return frames;
  try {
    return still(await decodeImage(data, limits, alpha, slice), options);
  } catch (error) {
    if (!(error instanceof ImageDecodeError) || error.code !== "image-corrupt") throw error;
    const came = await decodeCutFile(data, limits, alpha, slice);
    if (came === undefined) throw error;
    return noted(still(came, options), options.notes.cut);
  }
}

/** The frames worth seeing; undefined if the file does not move. */
async function readFrames(
  data: Uint8Array,
  options: ViewOptions,
  slice: TimeSlice,
): Promise<readonly View[] | undefined> {
  const animation = await openAnimation(data, options);
  if (!animation) return undefined;
  try {
    const chosen = chooseFrames(await animation.thumbnails(slice), options.maxFrames);
    const images: RgbImage[] = [];
    for (const index of chosen) images.push(await animation.frame(index, slice));
    const [only] = images;
    if (only && images.length === 1) return still(only, options);
    const { maxPixels } = options.budget;
    const share = Math.max(options.budget.factor ** 2, Math.floor(maxPixels / images.length));
    const { minPixels } = options.budget;
    const budget = { ...options.budget, minPixels: Math.min(minPixels, share), maxPixels: share };
    const views = images.map((image, index) => ({
      image,
      budget,
      before: options.notes.frame(secondsBefore(animation, chosen[index]!)),
      after: "",
    }));
    return noted(views, options.notes.frames(images.length));
  } catch (error) {
    slice.throwIfAborted();
    // A damaged frame: the first one may be whole, and if not, that is said as for any other picture.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

function secondsBefore({ delaysMs }: Animation, index: number): number {
  return delaysMs.slice(0, index).reduce((sum, delay) => sum + delay, 0) / 1000;
}

/** A picture that does not move: whole, or in pieces. */
function still(image: RgbImage, { budget, maxTiles, notes }: ViewOptions): readonly View[] {
  const { tiles, vertical, tooSmall } = planTiles(image, budget, maxTiles);
  const views = tiles.map((tile, index) => ({
    image: tiles.length === 1 ? image : cropTile(image, tile, vertical),
    budget,
    before: tiles.length === 1 ? "" : notes.tile(index + 1, tiles.length),
    after: "",
  }));
  return tooSmall ? noted(views, notes.smallPrint) : views;
}

function noted(views: readonly View[], note: string): readonly View[] {
  return views.map((view, index) =>
    index === views.length - 1 ? { ...view, after: view.after + note } : view,
  );
}
