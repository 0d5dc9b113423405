// Unicode normalisation form C, safe against text made to be slow.
// In: any string. Out: the string as the reference's tokenizer normalises it. It knows no tokens.

/** Marks in a row that are put in order; the Unicode "stream-safe" format allows 30. */
const MAX_MARKS = 64;
const LONG_RUN_OF_MARKS = new RegExp(`\\p{M}{${MAX_MARKS + 1}}`, "u");
const AFTER_MANY_MARKS = new RegExp(`(?<=\\p{M}{${MAX_MARKS}})`, "u");

/**
 * Normalises to NFC.
 *
 * Ordering a run of combining marks takes time quadratic in its length: 10 s for 100,000 of them. What follows the first
 * 64 marks of a run, which no language writes, is therefore left in its order.
 */
export function normalizeNfc(text: string): string {
  if (!LONG_RUN_OF_MARKS.test(text)) return text.normalize("NFC");
  return text
    .split(AFTER_MANY_MARKS)
    .map((piece) => piece.normalize("NFC"))
    .join("");
}
