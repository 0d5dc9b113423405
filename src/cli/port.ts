// Is a port free, and the address this machine's? Asked before a model is loaded for minutes, so that the answer does not
// come after it.

import { once } from "node:events";
import { createServer } from "node:net";

/** @param port 0: any free one @throws the error of the socket, such as EADDRINUSE or EACCES. */
export async function refuseTakenPort(host: string, port: number): Promise<void> {
  const server = createServer();
  server.listen(port, host.replace(/^\[(.*)\]$/, "$1"));
  await once(server, "listening");
  server.close();
  await once(server, "close");
}
