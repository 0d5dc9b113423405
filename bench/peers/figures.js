// What is measured of every engine, and what the figures are called.

export const PROMPTS = [64, 512];
export const CONTEXTS = [128, 1024, 4096];
export const PICTURES = [
  [256, 256],
  [448, 448],
  [1024, 768],
];

const rate = (id, label) => ({ id, label, unit: "tok/s", better: "more" });
const ms = (id, label) => ({ id, label, unit: "ms", better: "less" });

export const FIGURES = [
  ...PROMPTS.map((tokens) => rate(`prefill.${tokens}`, `prompt of ${tokens} tokens`)),
  ...CONTEXTS.map((tokens) => rate(`decode.context-${tokens}`, `answer at context ${tokens}`)),
  ...PICTURES.map(([w, h]) => ms(`vision.${w}x${h}`, `picture ${w} x ${h} encoded`)),
  ...PICTURES.map(([w, h]) => ms(`first-word.${w}x${h}`, `first word, picture ${w} x ${h}`)),
];
