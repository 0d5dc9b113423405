// Is a port free? Asked before a model is loaded for minutes, so that the answer does not come after it.

import { once } from "node:events";
import { createServer } from "node:net";

/** @throws the error of the socket, such as EADDRINUSE or EACCES. */
export async function refuseTakenPort(host: string, port: number): Promise<void> {
  if (port === 0) return;
  const server = createServer();
  server.listen(port, host.replace(/^\[(.*)\]$/, "$1"));
  await once(server, "listening");
  server.close();
  await once(server, "close");
}
