// Gates that tell what they refused. In: gates. Out: gates that answer the same.

import type { AskedGate, Gate, Refusal } from "../pipeline/gate.ts";

type Count = (reason: string) => void;

export function countedGates(gates: readonly Gate[], count: Count): Gate[] {
  return gates.map((gate) => ({
    refuse(message) {
      return counted(gate.refuse(message), count);
    },
  }));
}

export function countedAskedGates(gates: readonly AskedGate[], count: Count): AskedGate[] {
  return gates.map((gate) => ({
    async refuse(message) {
      return counted(await gate.refuse(message), count);
    },
  }));
}

function counted(refusal: Refusal | undefined, count: Count): Refusal | undefined {
  if (refusal !== undefined) count(refusal.reason);
  return refusal;
}
