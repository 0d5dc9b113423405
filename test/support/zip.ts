// A zip file of a test's own. In: names and contents. Out: its bytes, the contents stored as they are.

import { crc32 } from "node:zlib";

export function zip(files: Readonly<Record<string, Uint8Array>>): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const [name, data] of Object.entries(files)) {
    const path = Buffer.from(name, "utf8");
    const sizes = Buffer.alloc(20);
    sizes.writeUInt32LE(crc32(data), 4);
    sizes.writeUInt32LE(data.byteLength, 8);
    sizes.writeUInt32LE(data.byteLength, 12);
    sizes.writeUInt16LE(path.byteLength, 16);
    const head = Buffer.from([0x14, 0, 0, 0x08, 0, 0]); // version 2.0, names in UTF-8, stored
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), head, sizes, path, data]);
    const entry = Buffer.alloc(14);
    entry.writeUInt32LE(offset, 10);
    central.push(
      Buffer.concat([Buffer.from("PK\x01\x02\x14\x00", "latin1"), head, sizes, entry, path]),
    );
    locals.push(local);
    offset += local.byteLength;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(central.length, 8);
  end.writeUInt16LE(central.length, 10);
  end.writeUInt32LE(directory.byteLength, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}
