// The sizes a benchmark can have: those of the published checkpoints, a small one for two minutes, and
// one for software in the place of a graphics card.

export const SHAPE_NAMES = ["nano", "mini", "2b", "4b", "8b"] as const;
export type ShapeName = (typeof SHAPE_NAMES)[number];
