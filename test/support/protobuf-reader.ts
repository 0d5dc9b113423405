// Reads Protocol Buffers without a schema, to look into written models from the outside.

/** Fields of one message: number -> values in order; nested messages stay bytes. */
export type ProtoFields = ReadonlyMap<number, readonly (bigint | number | Uint8Array)[]>;

export function readProto(bytes: Uint8Array): ProtoFields {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields = new Map<number, (bigint | number | Uint8Array)[]>();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = view.getUint8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.byteLength) {
    const key = Number(varint());
    const values = fields.get(key >> 3) ?? [];
    fields.set(key >> 3, values);
    if ((key & 7) === 0) values.push(varint());
    else if ((key & 7) === 5) {
      values.push(view.getFloat32(at, true));
      at += 4;
    } else if ((key & 7) === 2) {
      const length = Number(varint());
      values.push(bytes.subarray(at, at + length));
      at += length;
    } else throw new Error(`Unexpected wire type ${key & 7}.`);
  }
  return fields;
}

/** The nested messages of a field. */
export function messages(fields: ProtoFields, field: number): ProtoFields[] {
  return (fields.get(field) ?? []).map((value) => readProto(value as Uint8Array));
}

/** The strings of a field. */
export function strings(fields: ProtoFields, field: number): string[] {
  return (fields.get(field) ?? []).map((value) => new TextDecoder().decode(value as Uint8Array));
}
