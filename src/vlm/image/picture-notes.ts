// What the model is told about a picture besides its pixels: that it moves, that it was cut, that it is incomplete.
// Each is a sentence or a mark in the prompt; Chinese by default, each one replaceable.

export interface PictureNotes {
  /** In front of each frame of an animation, which is shown from this second on. */
  readonly frame: (seconds: number) => string;
  /** Behind the last of so many frames. */
  readonly frames: (count: number) => string;
  /** In front of each piece of a long picture, counted from 1. */
  readonly tile: (number: number, count: number) => string;
  /** Behind a picture of which a part never came. */
  readonly cut: string;
  /** Behind a long picture that had to be made so small that its text may be lost. */
  readonly smallPrint: string;
}

export const DEFAULT_PICTURE_NOTES: PictureNotes = {
  frame: () => "",
  frames: () => "[动图]",
  tile: (number, count) => `[长图，第${number}段，共${count}段]`,
  cut: "[这张图不完整，后面的部分没有传到]",
  smallPrint: "[这张长图缩小了很多，小字可能看不清]",
};
