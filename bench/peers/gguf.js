// The text half of a Qwen3-VL checkpoint as GGUF, for engines of the llama.cpp family: the same weights, as Q8_0 or
// Q4_0. In: a directory with config.json, tokenizer.json and model.safetensors in bf16. Out: one file.
// (Written as the architecture `qwen3`: the same products; pictures, DeepStack and M-RoPE are not in it.)

import { open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";

const ALIGNMENT = 32;
const BLOCK = 32;
const F32 = 0;
/** Number in the file, bytes of a block of 32 weights, number of the whole file's type. */
const FORMATS = {
  Q4_0: { type: 2, blockBytes: 18, fileType: 2, quantize: quantizeQ4 },
  Q8_0: { type: 8, blockBytes: 34, fileType: 7, quantize: quantizeQ8 },
};
/** Weights turned at once. */
const PIECE = 2 ** 21;

/**
 * @param {string} checkpoint
 * @param {string} path
 * @param {"Q4_0" | "Q8_0"} format
 */
export async function writeGguf(checkpoint, path, format) {
  const config = JSON.parse(await readFile(join(checkpoint, "config.json"), "utf8")).text_config;
  const tokenizer = JSON.parse(await readFile(join(checkpoint, "tokenizer.json"), "utf8"));
  const source = await open(join(checkpoint, "model.safetensors"));
  const target = await open(`${path}.new`, "w");
  try {
    const stored = await readHeader(source);
    const tensors = tensorsOf(config, stored, FORMATS[format]);
    const header = headerOf(config, tokenizer, tensors, FORMATS[format]);
    await target.write(header);
    for (const tensor of tensors) await writeTensor(source, target, tensor, header.byteLength);
  } finally {
    await source.close();
    await target.close();
  }
  await rename(`${path}.new`, path);
}

async function readHeader(file) {
  const length = Buffer.alloc(8);
  await file.read(length, 0, 8, 0);
  const bytes = Buffer.alloc(Number(length.readBigUInt64LE()));
  await file.read(bytes, 0, bytes.byteLength, 8);
  const entries = Object.entries(JSON.parse(bytes.toString("utf8")));
  const base = 8 + bytes.byteLength;
  return new Map(
    entries.map(([name, { shape, data_offsets: [start] = [] }]) => [
      name,
      { shape, start: base + start },
    ]),
  );
}

const LAYER_NAMES = [
  ["attn_norm", "input_layernorm"],
  ["attn_q", "self_attn.q_proj"],
  ["attn_k", "self_attn.k_proj"],
  ["attn_v", "self_attn.v_proj"],
  ["attn_q_norm", "self_attn.q_norm"],
  ["attn_k_norm", "self_attn.k_norm"],
  ["attn_output", "self_attn.o_proj"],
  ["ffn_norm", "post_attention_layernorm"],
  ["ffn_gate", "mlp.gate_proj"],
  ["ffn_up", "mlp.up_proj"],
  ["ffn_down", "mlp.down_proj"],
];

function tensorsOf(config, stored, format) {
  const prefix = "model.language_model.";
  const names = [
    ["token_embd.weight", `${prefix}embed_tokens.weight`],
    ["output_norm.weight", `${prefix}norm.weight`],
  ];
  if (stored.has("lm_head.weight")) names.push(["output.weight", "lm_head.weight"]);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    for (const [name, from] of LAYER_NAMES) {
      names.push([`blk.${layer}.${name}.weight`, `${prefix}layers.${layer}.${from}.weight`]);
    }
  }
  let offset = 0;
  return names.map(([name, from]) => {
    const { shape, start } = stored.get(from);
    const count = shape.reduce((product, size) => product * size, 1);
    const isMatrix = shape.length === 2;
    const byteLength = isMatrix ? (count / BLOCK) * format.blockBytes : 4 * count;
    const tensor = { name, shape, start, count, offset, byteLength, format: isMatrix && format };
    offset = Math.ceil((offset + byteLength) / ALIGNMENT) * ALIGNMENT;
    return tensor;
  });
}

async function writeTensor(source, target, { start, count, offset, format }, base) {
  const raw = new Uint16Array(PIECE);
  const bits = new Uint32Array(PIECE);
  const floats = new Float32Array(bits.buffer);
  let position = base + offset;
  for (let first = 0; first < count; first += PIECE) {
    const length = Math.min(PIECE, count - first);
    await source.read(new Uint8Array(raw.buffer, 0, 2 * length), 0, 2 * length, start + 2 * first);
    for (let i = 0; i < length; i++) bits[i] = raw[i] << 16; // bf16
    const values = floats.subarray(0, length);
    const bytes = format
      ? format.quantize(values)
      : new Uint8Array(values.buffer, 0, values.byteLength);
    await target.write(bytes, 0, bytes.byteLength, position);
    position += bytes.byteLength;
  }
}

function quantizeQ8(values) {
  const bytes = Buffer.alloc((values.length / BLOCK) * 34);
  for (let block = 0, at = 0; block < values.length; block += BLOCK, at += 34) {
    let largest = 0;
    for (let i = block; i < block + BLOCK; i++) largest = Math.max(largest, Math.abs(values[i]));
    const scale = largest / 127;
    const inverse = scale > 0 ? 1 / scale : 0;
    bytes.writeUInt16LE(halfBits(scale), at);
    for (let i = 0; i < BLOCK; i++) bytes[at + 2 + i] = Math.round(values[block + i] * inverse);
  }
  return bytes;
}

function quantizeQ4(values) {
  const bytes = Buffer.alloc((values.length / BLOCK) * 18);
  for (let block = 0, at = 0; block < values.length; block += BLOCK, at += 18) {
    let extreme = 0;
    for (let i = block; i < block + BLOCK; i++) {
      if (Math.abs(values[i]) > Math.abs(extreme)) extreme = values[i];
    }
    const scale = extreme / -8;
    const inverse = scale === 0 ? 0 : 1 / scale;
    const level = (i) => Math.min(15, (values[block + i] * inverse + 8.5) | 0);
    bytes.writeUInt16LE(halfBits(scale), at);
    for (let i = 0; i < 16; i++) bytes[at + 2 + i] = level(i) | (level(i + 16) << 4);
  }
  return bytes;
}

const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

/** f32 to f16, rounded to nearest; scales are neither infinite nor so small that they vanish. */
function halfBits(value) {
  float[0] = value;
  const sign = (floatBits[0] >>> 16) & 0x8000;
  const exponent = ((floatBits[0] >>> 23) & 0xff) - 112;
  if (exponent <= 0) return sign;
  return (
    sign | (((exponent << 10) | ((floatBits[0] >>> 13) & 0x3ff)) + ((floatBits[0] >>> 12) & 1))
  );
}

function headerOf(config, tokenizer, tensors, { fileType }) {
  const writer = new Writer();
  const pairs = metadata(config, tokenizer, fileType);
  writer.raw(Buffer.from("GGUF")).u32(3).u64(tensors.length).u64(pairs.length);
  for (const [key, kind, value] of pairs) writer.text(key).value(kind, value);
  for (const { name, shape, offset, format } of tensors) {
    writer.text(name).u32(shape.length);
    for (const size of shape.toReversed()) writer.u64(size);
    writer.u32(format ? format.type : F32).u64(offset);
  }
  return writer.padded(ALIGNMENT);
}

function metadata(config, tokenizer, fileType) {
  const added = new Map(tokenizer.added_tokens.map(({ id, content }) => [id, content]));
  const spellings = [];
  for (const [spelling, id] of Object.entries(tokenizer.model.vocab)) spellings[id] = spelling;
  const ids = Array.from({ length: config.vocab_size }, (_, id) => id);
  const [normal, control, unused] = [1, 3, 5];
  const kind = (id) => (added.has(id) ? control : spellings[id] === undefined ? unused : normal);
  return [
    ["general.architecture", "string", "qwen3"],
    ["general.name", "string", "random"],
    ["general.file_type", "u32", fileType],
    ["qwen3.block_count", "u32", config.num_hidden_layers],
    ["qwen3.context_length", "u32", 32_768],
    ["qwen3.embedding_length", "u32", config.hidden_size],
    ["qwen3.feed_forward_length", "u32", config.intermediate_size],
    ["qwen3.attention.head_count", "u32", config.num_attention_heads],
    ["qwen3.attention.head_count_kv", "u32", config.num_key_value_heads],
    ["qwen3.attention.key_length", "u32", config.head_dim],
    ["qwen3.attention.value_length", "u32", config.head_dim],
    ["qwen3.attention.layer_norm_rms_epsilon", "f32", config.rms_norm_eps],
    ["qwen3.rope.freq_base", "f32", config.rope_theta],
    ["tokenizer.ggml.model", "string", "gpt2"],
    ["tokenizer.ggml.pre", "string", "qwen2"],
    [
      "tokenizer.ggml.tokens",
      "strings",
      ids.map((id) => added.get(id) ?? spellings[id] ?? `[PAD${id}]`),
    ],
    ["tokenizer.ggml.token_type", "i32s", ids.map(kind)],
    [
      "tokenizer.ggml.merges",
      "strings",
      tokenizer.model.merges.map((merge) => [merge].flat().join(" ")),
    ],
    ["tokenizer.ggml.eos_token_id", "u32", config.eos_token_id],
    ["tokenizer.ggml.padding_token_id", "u32", config.bos_token_id],
    ["tokenizer.ggml.add_bos_token", "bool", false],
  ];
}

class Writer {
  #parts = [];

  raw(bytes) {
    this.#parts.push(bytes);
    return this;
  }

  u32(value) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.raw(bytes);
  }

  u64(value) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return this.raw(bytes);
  }

  text(value) {
    const bytes = Buffer.from(value, "utf8");
    return this.u64(bytes.byteLength).raw(bytes);
  }

  value(kind, value) {
    const [u32, i32, f32, bool, string, array] = [4, 5, 6, 7, 8, 9];
    switch (kind) {
      case "u32":
        return this.u32(u32).u32(value);
      case "f32":
        return this.u32(f32).raw(Buffer.from(Float32Array.of(value).buffer));
      case "bool":
        return this.u32(bool).raw(Buffer.from([value ? 1 : 0]));
      case "string":
        return this.u32(string).text(value);
      case "i32s":
        return this.u32(array)
          .u32(i32)
          .u64(value.length)
          .raw(Buffer.from(Int32Array.from(value).buffer));
      case "strings":
        this.u32(array).u32(string).u64(value.length);
        for (const text of value) this.text(text);
        return this;
      default:
        throw new TypeError(`Unknown kind ${kind}.`);
    }
  }

  padded(alignment) {
    const bytes = Buffer.concat(this.#parts);
    const missing = (alignment - (bytes.byteLength % alignment)) % alignment;
    return Buffer.concat([bytes, Buffer.alloc(missing)]);
  }
}
