// Tells a port of every module that is resolved. Runs in the thread of Node's loader hooks.

let port;

export function initialize(data) {
  port = data.port;
}

export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  port.postMessage(found.url);
  return found;
}
