// What a hub's refusal means. In: a status, headers and JSON. Out: a PullError that says what to do. It knows how both
// hubs word things.

import { PullError } from "../errors.ts";
import type { JsonAnswer } from "./json-answer.ts";
import { shownText } from "./shown-text.ts";

export interface Asked {
  readonly model: string;
  readonly revision: string | undefined;
  readonly host: string;
  /** Where a person sees the model. */
  readonly page: string;
  /** What was sent along to prove who asks; a hub may say it again, and nobody else should hear it. */
  readonly credentials: Readonly<Record<string, string>>;
  /** Variable that holds the token of this hub. */
  readonly tokenVariable: string;
}

/** @param answer with a status from 400 on, or an error inside HTTP 200 */
export function refusal(answer: JsonAnswer, asked: Asked): PullError {
  const { model, host, page, credentials, tokenVariable } = asked;
  const { status } = answer;
  const withToken = "authorization" in credentials;
  const said = shownText(withoutSecrets(messageOf(answer), credentials));
  const facts = { host, status };
  const code = answer.headers["x-error-code"];
  if (code === "RevisionNotFound" || code === "EntryNotFound")
    return revisionNotFound(asked, status);
  if (code === "GatedRepo" || (status === 403 && /gated|restricted/i.test(said))) {
    const then = withToken ? "with the account of this token" : `and set ${tokenVariable}`;
    return new PullError(
      "access-denied",
      `${model} is gated. Accept its terms at ${page} ${then}, then pull again.`,
      facts,
    );
  }
  if (status === 401 && withToken && /credential|token/i.test(said)) {
    return new PullError(
      "access-denied",
      `${host} does not know the token in ${tokenVariable}. Make a new one, or unset it for a model that is open to all.`,
      facts,
    );
  }
  if (status === 401 || status === 404) {
    const hint = withToken ? "" : `, or it is private (${tokenVariable} is not set)`;
    return new PullError(
      "model-not-found",
      `${host} has no model ${model}${hint}. Names are OWNER/NAME, such as Qwen/Qwen3-VL-2B-Instruct.`,
      facts,
    );
  }
  const quoted = said === "" ? "" : `: ${said}`;
  if (status === 403) {
    return new PullError(
      "access-denied",
      `${host} refuses ${model} (HTTP 403)${quoted}. It is gated or disabled, or this mirror does not serve it; see ${page}.`,
      facts,
    );
  }
  return new PullError("hub-answer", `${host} answered HTTP ${status}${quoted}.`, facts);
}

export function revisionNotFound({ model, revision, host }: Asked, status?: number): PullError {
  return new PullError(
    "revision-not-found",
    `${model} has no revision ${shownText(revision ?? "by default")} on ${host}.`,
    { host, status },
  );
}

/** Messages stand in a header or in JSON under several names. */
function messageOf({ headers, json }: JsonAnswer): string {
  const inJson = typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
  const found = [headers["x-error-message"], inJson.error, inJson.Message].find(
    (text) => typeof text === "string" && text !== "",
  );
  return typeof found === "string" ? found : "";
}

function withoutSecrets(text: string, credentials: Asked["credentials"]): string {
  // Behind `Bearer ` or the name of a cookie; a token may have `=` in it, as base64 has.
  const secrets = Object.values(credentials).map((value) => value.replace(/^.*?[ =]/u, ""));
  return secrets.reduce((left, secret) => left.replaceAll(secret, "***"), text);
}
