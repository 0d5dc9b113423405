import { Tensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { OnnxModel } from "../../../src/vlm/convert/onnx-model.ts";
import { ProtoWriter } from "../../../src/vlm/convert/protobuf.ts";
import { openSession } from "../../support/graph-runner.ts";
import { messages, readProto, strings } from "../../support/protobuf-reader.ts";

describe("ProtoWriter", () => {
  it("writes varints of every length, negative ones in ten bytes", () => {
    expect([...new ProtoWriter().int(1, 0).toBytes()]).toEqual([0x08, 0]);
    expect([...new ProtoWriter().int(1, 127).toBytes()]).toEqual([0x08, 127]);
    expect([...new ProtoWriter().int(1, 300).toBytes()]).toEqual([0x08, 0xac, 0x02]);
    expect([...new ProtoWriter().int(1, -1).toBytes()]).toEqual([
      0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
    ]);
    expect(readProto(new ProtoWriter().int(20, 2 ** 40).toBytes()).get(20)).toEqual([2n ** 40n]);
  });

  it("nests messages and keeps strings in UTF-8", () => {
    const inner = new ProtoWriter().string(2, "图").float(3, 0.5);
    const [read] = messages(readProto(new ProtoWriter().message(7, inner).toBytes()), 7);
    expect(read && strings(read, 2)).toEqual(["图"]);
    expect(read?.get(3)).toEqual([0.5]);
  });
});

describe("OnnxModel", () => {
  it("writes models that ONNX Runtime runs, constants and attributes included", async () => {
    const model = new OnnxModel("sums");
    const x = model.input("x", "f32", ["rows", 3]);
    const axes = model.constant("axes", "i64", [1], [-1]);
    const sum = model.node("ReduceSum", "sum", [x, axes], { keepdims: { int: 0 } });
    model.node("LeakyRelu", "y", [sum], { alpha: { float: 0.5 } });
    model.output("y", "f32", ["rows"]);
    const session = await openSession(model.serialize("none", "1"));
    const data = Float32Array.of(1, 2, 3, -4, -5, -6);
    const { y } = await session.run({ x: new Tensor("float32", data, [2, 3]) });
    expect(y?.data).toEqual(Float32Array.of(6, -7.5));
    await session.release();
  });

  it("aligns external tensors: small ones to 64 bytes, large ones to pages", () => {
    const model = new OnnxModel("offsets");
    expect(model.external("a", "i8", [10]).offset).toBe(0);
    expect(model.external("b", "f32", [3]).offset).toBe(64);
    expect(model.external("c", "f32", [128, 128]).offset).toBe(4096);
    expect(model.externalByteLength).toBe(4096 + 65536);
  });

  it("refuses one name for two constants", () => {
    const model = new OnnxModel("twice");
    model.constant("one", "f32", [], [1]);
    expect(() => model.constant("one", "f32", [], [2])).toThrow("one was given two different");
    expect(model.constant("one", "f32", [], [1])).toBe("one");
  });
});
