// Prompts of made-up words, each one token in the benchmark's vocabulary.

const SYLLABLES = [..."bcdfghjklmnpqrstvwxyz"].flatMap((consonant) =>
  [..."aeiou"].map((vowel) => consonant + vowel),
);

/** @param {number} count */
export function words(count) {
  const draw = () => SYLLABLES[Math.floor(Math.random() * SYLLABLES.length)];
  return Array.from({ length: count }, () => ` ${draw()}${draw()}`).join("");
}
