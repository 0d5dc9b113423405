// Where a config.json keeps the settings of the decoder's rotary positions: transformers 5.x writes one
// `rope_parameters`, 4.57 writes `rope_theta` and `rope_scaling`, and some tools put either at the top instead of in
// text_config. Out: base and sections. Knows no angles.

import { ModelLoadError } from "../errors.ts";
import type { JsonFields } from "./json-fields.ts";
import type { Assume } from "./stored-facts.ts";

export interface RopeConfig {
  readonly ropeTheta: number;
  /** How many of the headSize / 2 frequencies follow time, height and width. */
  readonly mropeSection: readonly [t: number, h: number, w: number];
}

const DEFAULT_THETA = 5_000_000;
const DEFAULT_SECTION = [24, 20, 20] as const;
const OBJECTS = ["rope_parameters", "rope_scaling"];
const ORDINARY_KINDS = ["default", "mrope"];

/**
 * Reads the first place that says something; text_config goes before the top.
 *
 * @throws ModelLoadError `model-unsupported` for stretched positions, `model-corrupt` for wrong values
 */
export function parseRope(
  text: JsonFields,
  top: JsonFields,
  headSize: number,
  assume: Assume,
): RopeConfig {
  const within = [text, top].flatMap((fields) =>
    OBJECTS.flatMap((name) => fields.objectOrUndefined(name) ?? []),
  );
  refuseStretched(text, within);
  const thetas = placesOf("rope_theta", [...within, text, top]);
  const sections = placesOf("mrope_section", within);
  tellConflict("rope_theta", thetas, assume);
  tellConflict("mrope_section", sections, assume);
  if (thetas[0] === undefined) {
    assume(`${text.where} names no rope_theta: ${DEFAULT_THETA} is used, as published.`);
  }
  return {
    ropeTheta: thetas[0]?.number("rope_theta", { above: 0 }) ?? DEFAULT_THETA,
    mropeSection: parseSection(text, sections[0], headSize, assume),
  };
}

function refuseStretched(text: JsonFields, within: readonly JsonFields[]): void {
  for (const fields of within) {
    const kind = fields.stringOrUndefined("rope_type") ?? fields.stringOrUndefined("type");
    if (kind !== undefined && !ORDINARY_KINDS.includes(kind)) {
      throw new ModelLoadError(
        "model-unsupported",
        `${text.where} asks for rope type ${kind} (${fields.where}); only the default can be used. ` +
          "Take rope_scaling from config.json of the base model for the context it was trained with.",
      );
    }
  }
}

function parseSection(
  text: JsonFields,
  fields: JsonFields | undefined,
  headSize: number,
  assume: Assume,
): RopeConfig["mropeSection"] {
  const section = fields?.numbers("mrope_section", { integer: true, min: 0 }) ?? DEFAULT_SECTION;
  const [t, h, w] = section;
  if (section.length !== 3 || t === undefined || h === undefined || w === undefined) {
    throw (fields ?? text).wrong("mrope_section", "three integers");
  }
  const fits = t + h + w === headSize / 2;
  if (fields === undefined && !fits) {
    throw new ModelLoadError(
      "model-corrupt",
      `${text.where} has no rope_scaling (or rope_parameters) with an mrope_section, and the published ` +
        `${section.join(", ")} does not add up to half of head_dim (${headSize / 2}). Copy it from config.json of the base model.`,
    );
  }
  if (!fits) {
    throw (fields ?? text).wrong(
      "mrope_section",
      `three integers that add up to half of head_dim (${headSize / 2})`,
    );
  }
  if (fields === undefined) {
    assume(`${text.where} names no mrope_section: ${section.join(", ")} is used, as published.`);
  }
  return [t, h, w];
}

/** Every place that names a setting, the one that counts first. */
function placesOf(name: string, places: readonly JsonFields[]): JsonFields[] {
  return places.filter((fields) => fields.has(name));
}

function tellConflict(name: string, places: readonly JsonFields[], assume: Assume): void {
  const [first, ...others] = places;
  const other = others.find((fields) => fields.text(name) !== first?.text(name));
  if (first === undefined || other === undefined) return;
  assume(
    `${name} is ${first.text(name)} in ${first.where} and ${other.text(name)} in ${other.where}: the former is used.`,
  );
}
