// An ONNX graph under construction: nodes, inputs, outputs, constants. Out: the bytes of an .onnx file whose
// large tensors lie in a second file ("external data"), at offsets fixed before any weight has been read.
// Knows nothing of Qwen3-VL.

import { ProtoWriter } from "./protobuf.ts";

/** ONNX opset of every graph written here; `com.microsoft` operators are version 1. */
export const ONNX_OPSET = 23;
const ONNX_IR_VERSION = 10;

const ELEMENT_TYPES = {
  f32: 1,
  u8: 2,
  i8: 3,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  bf16: 16,
} as const;
const ELEMENT_BYTES = { f32: 4, u8: 1, i8: 1, i32: 4, i64: 8, bool: 1, f16: 2, bf16: 2 } as const;

export type ElementType = keyof typeof ELEMENT_TYPES;
/** The number of an element type in ONNX, as the operator Cast wants it. */
export function elementTypeCode(type: ElementType): number {
  return ELEMENT_TYPES[type];
}

/** A size, or the name of a size that changes from run to run. */
export type Dimension = number | string;

export type AttributeValue =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly ints: readonly number[] }
  /** A branch: it sees the names of the graph around it, and brings no weights of its own. */
  | { readonly graph: OnnxModel };

export interface GraphNode {
  readonly name: string;
  readonly domain: "" | "com.microsoft";
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

export interface GraphValue {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly Dimension[];
}

/** A tensor in the external data file. */
export interface ExternalTensor {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly byteLength: number;
}

interface InlineTensor {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** One ONNX graph; add in the order of computation, then `serialize`. */
export class OnnxModel {
  readonly name: string;
  readonly nodes: GraphNode[] = [];
  readonly inputs: GraphValue[] = [];
  readonly outputs: GraphValue[] = [];
  readonly externals: ExternalTensor[] = [];
  readonly #constants = new Map<string, InlineTensor>();
  #externalBytes = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Length of the external data file, padding included. */
  get externalByteLength(): number {
    return this.#externalBytes;
  }

  input(name: string, type: ElementType, shape: readonly Dimension[]): string {
    this.inputs.push({ name, type, shape });
    return name;
  }

  /** An input that a run may leave out: the constant of that name takes its place. */
  optionalInput(
    name: string,
    type: ElementType,
    shape: readonly Dimension[],
    otherwise: { readonly shape: readonly number[]; readonly values: readonly number[] },
  ): string {
    this.input(name, type, shape);
    return this.constant(name, type, otherwise.shape, otherwise.values);
  }

  output(name: string, type: ElementType, shape: readonly Dimension[]): void {
    this.outputs.push({ name, type, shape });
  }

  /** Adds a node with one output, named like the node. Optional inputs left out are `""`. */
  node(
    op: string,
    name: string,
    inputs: readonly string[],
    attributes: GraphNode["attributes"] = {},
    domain: GraphNode["domain"] = "",
  ): string {
    this.nodes.push({ name, domain, op, inputs, outputs: [name], attributes });
    return name;
  }

  /** Adds a node whose outputs are named one by one. */
  nodeWithOutputs(node: GraphNode): void {
    this.nodes.push(node);
  }

  /** A small constant that lies in the graph itself; equal names must mean equal values. */
  constant(
    name: string,
    type: ElementType,
    shape: readonly number[],
    values: readonly number[],
  ): string {
    const data = elementBytes(type, values);
    const known = this.#constants.get(name);
    if (known !== undefined && Buffer.compare(known.data, data) !== 0) {
      throw new Error(`The constant ${name} was given two different values.`);
    }
    this.#constants.set(name, { name, type, shape, data });
    return name;
  }

  /** Reserves room in the external data file; whoever writes that file fills it in this order. */
  external(name: string, type: ElementType, shape: readonly number[]): ExternalTensor {
    const byteLength = shape.reduce((product, size) => product * size, ELEMENT_BYTES[type]);
    // Large tensors are mapped into memory page by page; small ones only need aligned access.
    const alignment = byteLength >= 65536 ? 4096 : 64;
    const offset = Math.ceil(this.#externalBytes / alignment) * alignment;
    const tensor = { name, type, shape, offset, byteLength };
    this.#externalBytes = offset + byteLength;
    this.externals.push(tensor);
    return tensor;
  }

  /** The .onnx file. `dataFile` is the name of the external data file beside it. */
  serialize(dataFile: string, producerVersion: string): Uint8Array {
    return new ProtoWriter()
      .int(1, ONNX_IR_VERSION)
      .string(2, "napcat-vlm")
      .string(3, producerVersion)
      .message(7, this.graphProto(dataFile))
      .message(8, new ProtoWriter().string(1, "").int(2, ONNX_OPSET))
      .message(8, new ProtoWriter().string(1, "com.microsoft").int(2, 1))
      .toBytes();
  }

  /** @internal The graph alone, as a model or an attribute of a node holds it. */
  graphProto(dataFile: string): ProtoWriter {
    const graph = new ProtoWriter();
    for (const node of this.nodes) graph.message(1, nodeProto(node));
    graph.string(2, this.name);
    for (const tensor of this.#constants.values()) {
      graph.message(5, tensorProto(tensor).bytes(9, tensor.data));
    }
    for (const tensor of this.externals) {
      graph.message(5, externalProto(tensorProto(tensor), tensor, dataFile));
    }
    for (const value of this.inputs) graph.message(11, valueProto(value));
    for (const value of this.outputs) graph.message(12, valueProto(value));
    return graph;
  }
}

function nodeProto(node: GraphNode): ProtoWriter {
  const proto = new ProtoWriter();
  for (const input of node.inputs) proto.string(1, input);
  for (const output of node.outputs) proto.string(2, output);
  proto.string(3, node.name).string(4, node.op);
  for (const [name, value] of Object.entries(node.attributes)) {
    proto.message(5, attributeProto(name, value));
  }
  return proto.string(7, node.domain);
}

function attributeProto(name: string, value: AttributeValue): ProtoWriter {
  const proto = new ProtoWriter().string(1, name);
  if ("float" in value) return proto.float(2, value.float).int(20, 1);
  if ("int" in value) return proto.int(3, value.int).int(20, 2);
  if ("string" in value) return proto.string(4, value.string).int(20, 3);
  if ("graph" in value) return proto.message(6, value.graph.graphProto("")).int(20, 5);
  for (const int of value.ints) proto.int(8, int);
  return proto.int(20, 7);
}

function tensorProto(tensor: Pick<ExternalTensor, "name" | "type" | "shape">): ProtoWriter {
  const proto = new ProtoWriter();
  for (const size of tensor.shape) proto.int(1, size);
  return proto.int(2, ELEMENT_TYPES[tensor.type]).string(8, tensor.name);
}

function externalProto(proto: ProtoWriter, tensor: ExternalTensor, file: string): ProtoWriter {
  const entries = [
    ["location", file],
    ["offset", String(tensor.offset)],
    ["length", String(tensor.byteLength)],
  ] as const;
  for (const [key, value] of entries) {
    proto.message(13, new ProtoWriter().string(1, key).string(2, value));
  }
  return proto.int(14, 1);
}

function valueProto(value: GraphValue): ProtoWriter {
  const shape = new ProtoWriter();
  for (const size of value.shape) {
    const dimension = new ProtoWriter();
    if (typeof size === "number") dimension.int(1, size);
    else dimension.string(2, size);
    shape.message(1, dimension);
  }
  const tensor = new ProtoWriter().int(1, ELEMENT_TYPES[value.type]).message(2, shape);
  return new ProtoWriter().string(1, value.name).message(2, new ProtoWriter().message(1, tensor));
}

function elementBytes(type: ElementType, values: readonly number[]): Uint8Array {
  if (type === "f16" || type === "bf16" || type === "bool") {
    throw new TypeError(`Constants inside a graph are not ${type}.`);
  }
  const typed = {
    f32: () => Float32Array.from(values),
    u8: () => Uint8Array.from(values),
    i8: () => Int8Array.from(values),
    i32: () => Int32Array.from(values),
    i64: () => BigInt64Array.from(values, (value) => BigInt(value)),
  }[type]();
  return new Uint8Array(typed.buffer);
}
