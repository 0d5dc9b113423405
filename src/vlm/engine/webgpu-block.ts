// Keys and values of a few tokens, copied out of a slot on WebGPU: on the device, or in the memory of the CPU where the
// device has no room for them. Both can be appended to a slot. It knows nothing of slots.

import type { KvBlock } from "./decoder-backend.ts";
import type { KvTables, WebGpuKvCopies } from "./webgpu-kv-copies.ts";

export class WebGpuBlock implements KvBlock {
  readonly tokens: number;
  readonly byteLength: number;
  /** For every part (heads * tokens, width): head after head. */
  readonly tables: KvTables;
  readonly toHost: (() => Promise<WebGpuBlock>) | undefined;
  readonly #copies: WebGpuKvCopies;

  constructor(copies: WebGpuKvCopies, tables: KvTables, tokens: number, onDevice = true) {
    this.#copies = copies;
    this.tables = tables;
    this.tokens = tokens;
    this.toHost = onDevice
      ? async () => new WebGpuBlock(copies, await copies.fetch(tables), tokens, false)
      : undefined;
    this.byteLength = tables.reduce((sum, table) => sum + table.byteLength, 0);
  }

  /** Rows of the tables that hold the first tokens: head after head. */
  rowsOf(tokens: number): Int32Array {
    const { heads } = this.#copies.parts[0]!;
    return Int32Array.from(
      { length: heads * tokens },
      (_, index) => Math.floor(index / tokens) * this.tokens + (index % tokens),
    );
  }

  dispose(): void {
    for (const table of this.tables) table.dispose();
  }
}
