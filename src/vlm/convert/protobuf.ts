// Protocol Buffers, the writing half and only what ONNX needs: varints, floats, bytes, nested messages.
// In: field numbers and values. Out: bytes. Knows nothing of ONNX.

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

const TEXT = new TextEncoder();
/** Most fields are names and numbers. */
const FIRST_BYTES = 64;

/** Collects the fields of one message; nested messages are `ProtoWriter`s too. */
export class ProtoWriter {
  #bytes = new Uint8Array(FIRST_BYTES);
  #byteLength = 0;

  get byteLength(): number {
    return this.#byteLength;
  }

  /** int32, int64, enum or bool; negative values take ten bytes, as the format wants. */
  int(field: number, value: number | bigint): this {
    this.#varint(field * 8 + VARINT);
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) this.#varint(value);
    else this.#longVarint(BigInt.asUintN(64, BigInt(value)));
    return this;
  }

  float(field: number, value: number): this {
    this.#varint(field * 8 + FIXED_32);
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setFloat32(this.#byteLength, value, true);
    this.#byteLength += 4;
    return this;
  }

  string(field: number, value: string): this {
    return this.bytes(field, TEXT.encode(value));
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint(field * 8 + LENGTH_DELIMITED);
    this.#varint(value.byteLength);
    this.#reserve(value.byteLength);
    this.#bytes.set(value, this.#byteLength);
    this.#byteLength += value.byteLength;
    return this;
  }

  /** A nested message. */
  message(field: number, value: ProtoWriter): this {
    return this.bytes(field, value.#bytes.subarray(0, value.#byteLength));
  }

  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#byteLength);
  }

  /** @param value whole, not negative, exact as a number */
  #varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#byteLength++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#byteLength++] = rest;
  }

  #longVarint(value: bigint): void {
    this.#reserve(10);
    let rest = value;
    while (rest > 0x7fn) {
      this.#bytes[this.#byteLength++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#byteLength++] = Number(rest);
  }

  #reserve(bytes: number): void {
    const needed = this.#byteLength + bytes;
    if (needed <= this.#bytes.byteLength) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.byteLength));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
