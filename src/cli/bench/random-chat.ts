// What is asked in a benchmark: pictures of noise and sentences of made-up words, never the same twice.
// In: sizes. Out: the messages of a request.

import type { ChatMessage, ImagePart } from "../../vlm/index.ts";
import { WORD_COUNT, wordAt } from "./synthetic-tokenizer.ts";

/** Draws words and pictures; two draws are equal only by great chance. */
export class RandomChat {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  /** A message of one token for each word, the first perhaps two. */
  words(count: number): string {
    return Array.from({ length: count }, () => ` ${wordAt(this.#next() % WORD_COUNT)}`).join("");
  }

  user(words: number): ChatMessage {
    return { role: "user", content: this.words(words) };
  }

  assistant(words: number): ChatMessage {
    return { role: "assistant", content: this.words(words) };
  }

  /** A question about a picture. */
  userWithPicture(picture: ImagePart, words: number): ChatMessage {
    return { role: "user", content: [picture, { type: "text", text: this.words(words) }] };
  }

  /** An uncompressed picture of noise: decoding it costs nothing that is not ours. */
  picture(width: number, height: number): ImagePart {
    const rowBytes = Math.ceil((3 * width) / 4) * 4;
    const data = Buffer.alloc(54 + rowBytes * height);
    data.write("BM");
    data.writeUInt32LE(data.byteLength, 2);
    data.writeUInt32LE(54, 10);
    data.writeUInt32LE(40, 14);
    data.writeInt32LE(width, 18);
    data.writeInt32LE(height, 22);
    data.writeUInt16LE(1, 26);
    data.writeUInt16LE(24, 28);
    for (let offset = 54; offset + 4 <= data.byteLength; offset += 4) {
      data.writeUInt32LE(this.#next(), offset);
    }
    return { type: "image", data };
  }

  #next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }
}
