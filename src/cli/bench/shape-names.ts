// The sizes a benchmark can have: those of the published checkpoints, and a small one for two minutes.

export const SHAPE_NAMES = ["mini", "2b", "4b", "8b"] as const;
export type ShapeName = (typeof SHAPE_NAMES)[number];
