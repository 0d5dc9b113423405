// Two pieces of work at once. Out: both results, or the first failure once both have ended: what the other one made is
// known to its owner by then. It knows nothing of the work.

/** @throws what the one that comes first in the list throws */
export async function allOrFailure<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}
