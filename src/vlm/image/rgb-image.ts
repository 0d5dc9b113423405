// A decoded picture: what every step between decoder and patch matrix hands on.

/** 8-bit RGB pixels, rows from top to bottom, without padding. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** (height, width, 3) */
  readonly pixels: Uint8Array;
}

/**
 * What becomes of transparency: `white` lays the picture over white paper, as people see stickers; `drop` forgets alpha
 * and shows whatever colours lie under it, as the reference does.
 */
export type AlphaMode = "white" | "drop";
