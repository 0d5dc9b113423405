// A SOCKS5 proxy for tests: knows one person or takes everybody, leads every name to this machine, and tells what it was
// asked. In: a name and a password. Out: its address, and the places that it led to.

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface SocksServer {
  readonly port: number;
  /** Such as `hub.test:1234`, in the order they were asked for. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** @param person `NAME:PASSWORD`; left out: it asks nobody who they are */
export async function startSocksServer(person?: string): Promise<SocksServer> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => socket.destroy()));
    serve(socket, person, asked).catch(() => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** RFC 1928 and 1929. */
async function serve(socket: Socket, person: string | undefined, asked: string[]): Promise<void> {
  const read = reader(socket);
  const [, methods = 0] = await read(2);
  const offered = await read(methods);
  const method = person === undefined ? 0 : 2;
  if (!offered.includes(method)) {
    socket.end(Buffer.of(5, 0xff));
    return;
  }
  socket.write(Buffer.of(5, method));
  if (person !== undefined) {
    const [, nameLength = 0] = await read(2);
    const name = (await read(nameLength)).toString();
    const [passwordLength = 0] = await read(1);
    const password = (await read(passwordLength)).toString();
    const known = `${name}:${password}` === person;
    socket.write(Buffer.of(1, known ? 0 : 1));
    if (!known) return void socket.end();
  }
  const [, , , kind] = await read(4);
  const host =
    kind === 1 ? (await read(4)).join(".") : (await read((await read(1))[0]!)).toString();
  const port = (await read(2)).readUInt16BE();
  asked.push(`${host}:${port}`);
  const line = connect(port, "127.0.0.1");
  line.on("error", () => socket.end(Buffer.of(5, 5, 0, 1, 0, 0, 0, 0, 0, 0)));
  line.on("connect", () => {
    socket.write(Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
    line.pipe(socket).pipe(line);
  });
  socket.on("close", () => line.destroy());
}

/** Takes so many bytes, as they come. */
function reader(socket: Socket) {
  return async (count: number): Promise<Buffer> => {
    for (;;) {
      const bytes = count === 0 ? Buffer.alloc(0) : (socket.read(count) as Buffer | null);
      if (bytes) return bytes;
      await once(socket, "readable");
    }
  };
}
