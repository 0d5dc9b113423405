// Whether words of CUDA mean too little memory, a lost card, or neither: for everything that was recorded from the real
// provider, and for every error that CUDA's runtime knows.

import { describe, expect, it } from "vitest";
import { cudaWords, isLoss, isOutOfMemory } from "../../../src/vlm/runtime/cuda-errors.ts";
import { ORT_VERSION } from "../../../src/vlm/runtime/ort-library.ts";
import { ANSWERS_VERSION, CUDA_ANSWERS, CUDA_ERRORS } from "../../support/cuda-answers.ts";

function meaning(text: string): "memory" | "loss" | "other" {
  const error = new Error(text);
  const [memory, loss] = [isOutOfMemory(error), isLoss(error)];
  expect(memory && loss).toBe(false);
  return memory ? "memory" : loss ? "loss" : "other";
}

/** After these nothing goes on in the process, as NVIDIA documents them, or there is no card to be reached any more. */
const LOSSES = [
  4, 46, 53, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 806, 810,
  911, 999,
];

describe("what the CUDA provider said", () => {
  it("is of the release that is used here", () => {
    expect(ANSWERS_VERSION).toBe(ORT_VERSION);
    expect(new Set(CUDA_ANSWERS.map(({ means }) => means))).toEqual(
      new Set(["memory", "loss", "other"]),
    );
  });

  it.each(CUDA_ANSWERS.map((answer) => [answer.when, answer.call, answer] as const))(
    "%s: %s",
    (_when, _call, { text, means }) => expect(meaning(text)).toBe(means),
  );
});

describe("the errors of CUDA", () => {
  it("mean the same in each of the ways in which the provider passes them on", () => {
    for (const { code, name, text } of CUDA_ERRORS) {
      const means = code === 2 ? "memory" : LOSSES.includes(code) ? "loss" : "other";
      const found = [
        meaning(
          `CUDA failure ${code}: ${text} ; GPU=0 ; hostname=x ; file=y ; line=1 ; expr=z(); `,
        ),
        meaning(`Non-zero status code returned while running Add node. CUDA error ${name}:${text}`),
      ];
      expect(found, `${code} ${name}`).toEqual([means, means]);
    }
  });

  it("are told without the host and the file that are named beside them", () => {
    const { text } = CUDA_ANSWERS.find(({ means }) => means === "loss")!;
    expect(cudaWords(new Error(text))).toBe(
      "CUDA failure 700: an illegal memory access was encountered",
    );
    expect(cudaWords(new Error("Something else"))).toBe("Something else");
    for (const answer of CUDA_ANSWERS.filter(({ means }) => means === "loss")) {
      expect(cudaWords(new Error(answer.text))).not.toMatch(/hostname|file=/);
    }
  });
});
