// The members of an object as a grammar: those that have names in their order, then others.

import { anyOf, inOrder, type Rule, reference } from "./grammar.ts";
import { punctuation, space } from "./json-terminals.ts";

export interface Member {
  readonly member: Rule;
  readonly required: boolean;
}

/** Members in their order, some of which may be left out, then any number of others. */
export function membersRule(members: readonly Member[], other: Rule | undefined): Rule {
  const end = punctuation("}");
  // Behind a member: the end, or another one behind a comma.
  const loop = reference();
  loop.to = other ? anyOf(end, inOrder(punctuation(","), other, loop)) : end;
  /** The member that comes next, without what stands in front of it; undefined where none may. */
  let next: Rule | undefined = other && inOrder(other, loop);
  let mayEnd = true;
  let behind: Rule = loop;
  for (const { member, required } of members.toReversed()) {
    const taken = inOrder(member, behind);
    next = required || !next ? taken : anyOf(taken, next);
    mayEnd &&= !required;
    const more = inOrder(punctuation(","), next);
    behind = mayEnd ? anyOf(end, more) : more;
  }
  const some = next && inOrder(space(), next);
  const inside = some && mayEnd ? anyOf(end, some) : (some ?? end);
  return inOrder(punctuation("{"), inside);
}
