// One step of an answer on an NVIDIA card: a token of each of ROWS chats through the whole decoder, in five kernels a
// layer. ONNX Runtime's operators take twelve, and a small model spends its time between them. Here each weight is read
// once for all chats, and begins to be read while the kernel before is still at work. Compiled at run time for the card
// and the sizes of the model, without any header of CUDA; step-plan.ts says what the names in capitals are.
//
// Activations between kernels: the residual stream is f32, what products take is f16. Weights are those of MatMulNBits:
// (N, K / 32) blocks of 4 or 8 bits with zero point 8 or 128, and one f16 scale each.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define WARP 32
#define ALL 0xffffffffu
// Of a block, but for products and attention.
#define THREADS SEARCH_THREADS
#define GROUP (HEADS / KV_HEADS)
#define QKV ((HEADS + 2 * KV_HEADS) * HEAD_DIM)
#define MINUS_INFINITY __int_as_float(0xff800000)

// ---- Numbers ----

__device__ __forceinline__ float to_float(u16 half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  return value;
}

__device__ __forceinline__ u16 to_half(float value) {
  u16 half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
}

__device__ __forceinline__ float low(u32 pair) { return to_float((u16)pair); }
__device__ __forceinline__ float high(u32 pair) { return to_float((u16)(pair >> 16)); }

__device__ __forceinline__ u32 fma2(u32 a, u32 b, u32 c) {
  u32 d;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

__device__ __forceinline__ u32 mul2(u32 a, u32 b) {
  u32 d;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}

__device__ __forceinline__ u32 sub2(u32 a, u32 b) {
  u32 d;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}

__device__ __forceinline__ float warp_sum(float value) {
  for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(ALL, value, step);
  return value;
}

// ---- One kernel after the other ----

// The next kernel may take its place on the card, and load what no other kernel writes.
__device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// From here on, everything that earlier kernels wrote is there.
__device__ __forceinline__ void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Asks for constants of a few lines: they are near when earlier kernels have ended.
template <int COUNT>
__device__ __forceinline__ void ask_for(const u16* values) {
  constexpr int LINE = 64;
  for (int at = threadIdx.x * LINE; at < COUNT; at += blockDim.x * LINE) {
    asm volatile("prefetch.global.L1 [%0];" ::"l"(values + at));
  }
}

// ---- Products of few rows with quantised weights ----
//
// The matrix units take 16 rows of weights, 16 columns and 8 chats at once. A lane of a warp holds two rows of its tile,
// `lane / 4` and eight further, and of every span of 128 columns one block of 32, `lane % 4`; which columns are
// multiplied together is free as long as weights and activations agree. Activations lie in shared memory in the order in
// which a word of weights gives its pairs.

#define CHATS_AT_ONCE 8
#define CHAT_TILES ((ROWS + CHATS_AT_ONCE - 1) / CHATS_AT_ONCE)
#define CHATS_OF_TILE (ROWS < CHATS_AT_ONCE ? ROWS : CHATS_AT_ONCE)
#define ROWS_OF_TILE 16

template <int K>
struct Columns {
  static constexpr int BLOCKS = K / 32;
  static constexpr int SPANS = (BLOCKS + 3) / 4;
  // From one chat to the next, in eights of one place in their blocks; lanes that read at once hit other banks.
  static constexpr int PITCH = BLOCKS + (12 - BLOCKS % 8) % 8;
};

// Where an activation lies in shared memory. Of 4 bits, a word of weights gives a weight and the fourth after it.
template <int K, int BITS>
__device__ __forceinline__ int place(int chat, int column) {
  const int eighth = column % 32 / 8, e = column % 8;
  const int inside = BITS == 4 ? (e % 4) * 2 + e / 4 : e;
  const int row = (chat / CHATS_AT_ONCE * 4 + eighth) * CHATS_OF_TILE + chat % CHATS_AT_ONCE;
  return (row * Columns<K>::PITCH + column / 32) * 8 + inside;
}

// Eight weights of a block as four pairs, scaled. `eighth` counts eights of the block.
template <int BITS>
__device__ __forceinline__ void widen(const u32 (&block)[BITS], int eighth, u32 scale, u32 (&pairs)[4]) {
  if constexpr (BITS == 4) {
    // 0x6400 is 1024, and its last bits count ones.
    const u32 levels = block[eighth];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const u32 pair = ((levels >> (4 * i)) & 0x000f000f) | 0x64006400;
      pairs[i] = mul2(sub2(pair, 0x64086408), scale);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const u32 levels = block[2 * eighth + i / 2];
      const u32 pair = __byte_perm(levels, 0x64646464, i % 2 ? 0x4342 : 0x4140);
      pairs[i] = mul2(sub2(pair, 0x64806480), scale);
    }
  }
}

// sums += weights (16 rows, 16 columns) times activations (16 columns, 8 chats). A lane's sums: of its first row for
// the chats 2 (lane % 4) and the next, then of its second row.
__device__ __forceinline__ void multiply_tile(
    float (&sums)[4], u32 first, u32 second, u32 first_next, u32 second_next, u32 x, u32 x_next) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(first), "r"(second), "r"(first_next), "r"(second_next), "r"(x), "r"(x_next));
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(first), "r"(second), "r"(x));
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(first_next), "r"(second_next), "r"(x_next));
#endif
}

// A few spans of a lane's two rows, in registers.
template <int K, int BITS, int COUNT>
struct WeightSpans {
  u32 blocks[2][COUNT][BITS];
  u16 scales[2][COUNT];

  // Rows below 0, and spans from `end` on, are zeros.
  __device__ __forceinline__ void load(const u8* weight, const u16* scale, const int (&rows)[2], int span, int end) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      const int block = (span + i) * 4 + threadIdx.x % 4;
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const bool there = rows[r] >= 0 && span + i < end && block < Columns<K>::BLOCKS;
        const i64 at = (i64)rows[r] * Columns<K>::BLOCKS + block;
        scales[r][i] = there ? __ldg(scale + at) : (u16)0;
#pragma unroll
        for (int part = 0; part < BITS / 4; part++) {
          uint4 words = make_uint4(0, 0, 0, 0);
          if (there) words = __ldcs(reinterpret_cast<const uint4*>(weight) + at * (BITS / 4) + part);
          blocks[r][i][4 * part] = words.x;
          blocks[r][i][4 * part + 1] = words.y;
          blocks[r][i][4 * part + 2] = words.z;
          blocks[r][i][4 * part + 3] = words.w;
        }
      }
    }
  }

  __device__ __forceinline__ void multiply(const uint4* x, int span, float (&sums)[CHAT_TILES][4]) const {
    const int chat = threadIdx.x % WARP / 4;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      const int block = min((span + i) * 4 + (int)threadIdx.x % 4, Columns<K>::BLOCKS - 1);
#pragma unroll
      for (int eighth = 0; eighth < 4; eighth++) {
        u32 first[4], second[4];
        widen<BITS>(blocks[0][i], eighth, scales[0][i] * 0x10001u, first);
        widen<BITS>(blocks[1][i], eighth, scales[1][i] * 0x10001u, second);
#pragma unroll
        for (int tile = 0; tile < CHAT_TILES; tile++) {
          uint4 values = make_uint4(0, 0, 0, 0);
          if (chat < CHATS_OF_TILE) {
            values = x[((tile * 4 + eighth) * CHATS_OF_TILE + chat) * Columns<K>::PITCH + block];
          }
          multiply_tile(sums[tile], first[0], second[0], first[1], second[1], values.x, values.y);
          multiply_tile(sums[tile], first[2], second[2], first[3], second[3], values.z, values.w);
        }
      }
    }
  }
};

extern __shared__ uint4 shared_rows[];

// Normed rows of the residual stream, to shared memory. Each block computes them for itself, some warps for each chat.
template <int BITS, int WARPS>
__device__ __forceinline__ void norm_rows(const float* hidden, const u16* weight) {
  __shared__ float squares_of[WARPS];
  u16* to = reinterpret_cast<u16*>(shared_rows);
  constexpr int TOGETHER = WARPS >= ROWS ? WARPS / ROWS : 1;
  constexpr int CHATS = WARPS / TOGETHER;
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const int first = (warp % TOGETHER * WARP + lane) * 4;
  // Warps that no chat is left for look on with the last ones.
  const int group = min(warp / TOGETHER, CHATS - 1);
  for (int from = 0; from < ROWS; from += CHATS) {
    const int chat = from + warp / TOGETHER;
    const bool mine = chat < ROWS && warp / TOGETHER < CHATS;
    const float4* row = reinterpret_cast<const float4*>(hidden + (mine ? chat : 0) * HIDDEN);
    float squares = 0;
    for (int column = first; column < HIDDEN; column += TOGETHER * WARP * 4) {
      const float4 v = row[column / 4];
      squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    squares = warp_sum(squares);
    if (TOGETHER > 1) {
      if (lane == 0) squares_of[warp] = squares;
      __syncthreads();
      squares = 0;
#pragma unroll
      for (int i = 0; i < TOGETHER; i++) squares += squares_of[group * TOGETHER + i];
    }
    const float factor = rsqrtf(squares / HIDDEN + EPSILON);
    if (mine) {
      for (int column = first; column < HIDDEN; column += TOGETHER * WARP * 4) {
        const float4 v = row[column / 4];
        const float values[4] = {v.x, v.y, v.z, v.w};
        const uint2 w = *reinterpret_cast<const uint2*>(weight + column);
        const float weights[4] = {low(w.x), high(w.x), low(w.y), high(w.y)};
#pragma unroll
        for (int e = 0; e < 4; e++) {
          to[place<HIDDEN, BITS>(chat, column + e)] = to_half(values[e] * factor * weights[e]);
        }
      }
    }
  }
  __syncthreads();
}

// Rows of activations of K columns, to shared memory.
template <int K, int BITS>
__device__ __forceinline__ void copy_rows(const u16* from) {
  u16* to = reinterpret_cast<u16*>(shared_rows);
  const uint4* eights = reinterpret_cast<const uint4*>(from);
#pragma unroll 1
  for (int i = threadIdx.x; i < ROWS * K / 8; i += blockDim.x) {
    const uint4 eight = eights[i];
    const u16* values = reinterpret_cast<const u16*>(&eight);
    const int chat = i / (K / 8), column = i % (K / 8) * 8;
#pragma unroll
    for (int e = 0; e < 8; e++) to[place<K, BITS>(chat, column + e)] = values[e];
  }
  __syncthreads();
}

// All products of activations in shared memory with TOTAL tiles of 16 rows of weights. A block takes TILES of them at
// once, each by SLICES warps, which share out the columns. `rows` gives the first and the second row of a tile's pair,
// -1 where there is none; `begin` fills shared memory; `take` gets both sums of a pair for one chat.
template <int K, int BITS, int TOTAL, int TILES, int SLICES, class Rows, class Begin, class Take>
__device__ __forceinline__ void products(
    const u8* weight, const u16* scale, Rows rows, Begin begin, Take take) {
  constexpr int MINE = (Columns<K>::SPANS + SLICES - 1) / SLICES;
  constexpr int MOST = 4; // More do not fit into registers beside the rest.
  constexpr int COUNT = MINE < MOST ? MINE : MOST;
  constexpr int CHATS = CHAT_TILES * CHATS_AT_ONCE;
  __shared__ float sums_of[SLICES > 1 ? TILES * SLICES : 1][ROWS_OF_TILE][CHATS];
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const int slice = warp % SLICES, pair = lane / 4;
  const int begins = slice * MINE, ends = min(begins + MINE, Columns<K>::SPANS);
  int tile = blockIdx.x * TILES + warp / SLICES;
  WeightSpans<K, BITS, COUNT> spans;
  int both[2];
  const auto load = [&](int span) {
    if (span == begins) rows(tile, pair, both);
    if (tile >= TOTAL) both[0] = both[1] = -1;
    spans.load(weight, scale, both, span, ends);
  };
  let_next_begin();
  load(begins);
  wait_for_earlier();
  begin();
  while (tile - warp / SLICES < TOTAL) {
    float sums[CHAT_TILES][4];
#pragma unroll
    for (int i = 0; i < CHAT_TILES; i++) sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = 0;
    for (int span = begins; span < begins + MINE; span += COUNT) {
      spans.multiply(shared_rows, span, sums);
      if (span + COUNT < begins + MINE) load(span + COUNT);
    }
    const int done = tile;
    tile += gridDim.x * TILES;
    if (tile - warp / SLICES < TOTAL) load(begins);
    if constexpr (SLICES == 1) {
#pragma unroll
      for (int i = 0; i < CHAT_TILES; i++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int chat = i * CHATS_AT_ONCE + lane % 4 * 2 + e;
          if (done < TOTAL && chat < ROWS) take(done, pair, chat, sums[i][e], sums[i][2 + e]);
        }
      }
    } else {
#pragma unroll
      for (int i = 0; i < CHAT_TILES; i++) {
        const int chat = i * CHATS_AT_ONCE + lane % 4 * 2;
#pragma unroll
        for (int e = 0; e < 4; e++) sums_of[warp][pair + e / 2 * 8][chat + e % 2] = sums[i][e];
      }
      __syncthreads();
      for (int i = threadIdx.x; i < TILES * 8 * ROWS; i += TILES * SLICES * WARP) {
        const int of = i / (8 * ROWS), which = i / ROWS % 8, chat = i % ROWS;
        float first = 0, second = 0;
#pragma unroll
        for (int part = 0; part < SLICES; part++) {
          first += sums_of[of * SLICES + part][which][chat];
          second += sums_of[of * SLICES + part][which + 8][chat];
        }
        const int its = done - warp / SLICES + of;
        if (its < TOTAL) take(its, which, chat, first, second);
      }
      if (tile - warp / SLICES < TOTAL) __syncthreads();
    }
  }
}

// ---- The kernels of a step, in their order ----

// hidden (ROWS, HIDDEN) = the embedding of each token.
extern "C" __global__ void embed(const i64* ids, const u16* table, float* hidden) {
  let_next_begin();
  wait_for_earlier();
  const u16* row = table + ids[blockIdx.x] * HIDDEN;
  for (int column = threadIdx.x; column < HIDDEN; column += blockDim.x) {
    hidden[blockIdx.x * HIDDEN + column] = to_float(row[column]);
  }
}

// N rows of weights in tiles of 16.
template <int N>
__device__ __forceinline__ void rows_in_order(int tile, int pair, int (&rows)[2]) {
  rows[0] = tile * ROWS_OF_TILE + pair;
  rows[1] = rows[0] + 8;
  if (rows[0] >= N) rows[0] = -1;
  if (rows[1] >= N) rows[1] = -1;
}

// to (ROWS, N) = normed hidden times weight.
template <int N, int BITS, int TILES, int SLICES>
__device__ __forceinline__ void normed_product(
    const float* hidden, const u16* norm, const u8* weight, const u16* scale, float* to) {
  ask_for<HIDDEN>(norm);
  products<HIDDEN, BITS, (N + ROWS_OF_TILE - 1) / ROWS_OF_TILE, TILES, SLICES>(
      weight, scale, rows_in_order<N>, [&] { norm_rows<BITS, TILES * SLICES>(hidden, norm); },
      [&](int tile, int pair, int chat, float first, float second) {
        const int row = tile * ROWS_OF_TILE + pair;
        float* of = to + (i64)chat * N;
        if (row < N) of[row] = first;
        if (row + 8 < N) of[row + 8] = second;
      });
}

// hidden += taken (ROWS, K) times weight.
template <int K, int TILES, int SLICES>
__device__ __forceinline__ void added_product(
    const u16* taken, const u8* weight, const u16* scale, float* hidden) {
  products<K, LAYER_BITS, (HIDDEN + ROWS_OF_TILE - 1) / ROWS_OF_TILE, TILES, SLICES>(
      weight, scale, rows_in_order<HIDDEN>, [&] { copy_rows<K, LAYER_BITS>(taken); },
      [&](int tile, int pair, int chat, float first, float second) {
        const int row = tile * ROWS_OF_TILE + pair;
        float* of = hidden + chat * HIDDEN;
        if (row < HIDDEN) of[row] += first;
        if (row + 8 < HIDDEN) of[row + 8] += second;
      });
}

// qkv (ROWS, QKV)
extern "C" __global__ void __launch_bounds__(PROJECT_TILES * PROJECT_SLICES * WARP) project(
    const float* hidden, const u16* norm, const u8* weight, const u16* scale, float* qkv) {
  normed_product<QKV, LAYER_BITS, PROJECT_TILES, PROJECT_SLICES>(hidden, norm, weight, scale, qkv);
}

extern "C" __global__ void __launch_bounds__(MIXED_TILES * MIXED_SLICES * WARP) add_mixed(
    const u16* mixed, const u8* weight, const u16* scale, float* hidden) {
  added_product<HEADS * HEAD_DIM, MIXED_TILES, MIXED_SLICES>(mixed, weight, scale, hidden);
}

extern "C" __global__ void __launch_bounds__(INNER_TILES * INNER_SLICES * WARP) add_inner(
    const u16* inner, const u8* weight, const u16* scale, float* hidden) {
  added_product<INNER, INNER_TILES, INNER_SLICES>(inner, weight, scale, hidden);
}

// inner (ROWS, INNER) = silu(gate) * up, both products of the normed hidden; rows of weight: all gates, then all ups. A
// tile has eight of each.
extern "C" __global__ void __launch_bounds__(GATE_TILES * GATE_SLICES * WARP) gate(
    const float* hidden, const u16* norm, const u8* weight, const u16* scale, u16* inner) {
  ask_for<HIDDEN>(norm);
  products<HIDDEN, LAYER_BITS, (INNER + 7) / 8, GATE_TILES, GATE_SLICES>(
      weight, scale,
      [](int tile, int pair, int (&rows)[2]) {
        const int row = tile * 8 + pair;
        rows[0] = row < INNER ? row : -1;
        rows[1] = row < INNER ? row + INNER : -1;
      },
      [&] { norm_rows<LAYER_BITS, GATE_TILES * GATE_SLICES>(hidden, norm); },
      [&](int tile, int pair, int chat, float x, float up) {
        const int row = tile * 8 + pair;
        if (row < INNER) inner[chat * INNER + row] = to_half(x / (1 + __expf(-x)) * up);
      });
}

// logits (ROWS, VOCABULARY)
extern "C" __global__ void __launch_bounds__(HEAD_TILES * HEAD_SLICES * WARP) head(
    const float* hidden, const u16* norm, const u8* weight, const u16* scale, float* logits) {
  normed_product<VOCABULARY, HEAD_BITS, HEAD_TILES, HEAD_SLICES>(hidden, norm, weight, scale, logits);
}

// ---- Attention ----

#define LANES_OF_TOKEN (HEAD_DIM / 8)
#define TOKENS_OF_WARP (WARP / LANES_OF_TOKEN)
#define AT_ONCE 4

// A head of queries or keys, normed and rotated: to[HEAD_DIM]. One warp does it.
__device__ __forceinline__ void rotate_head(
    const float* from, const u16* norm, const u16* cosines, const u16* sines, float factor, float* to) {
  const int lane = threadIdx.x % WARP;
  float squares = 0;
  for (int i = lane; i < HEAD_DIM; i += WARP) squares += from[i] * from[i];
  const float scale = rsqrtf(warp_sum(squares) / HEAD_DIM + EPSILON);
  for (int i = lane; i < HEAD_DIM / 2; i += WARP) {
    const float a = from[i] * scale * to_float(norm[i]);
    const float b = from[i + HEAD_DIM / 2] * scale * to_float(norm[i + HEAD_DIM / 2]);
    const float cosine = to_float(cosines[i]), sine = to_float(sines[i]);
    to[i] = (a * cosine - b * sine) * factor;
    to[i + HEAD_DIM / 2] = (b * cosine + a * sine) * factor;
  }
}

// What one run over tokens has found: the largest score, the sum of weights, and the weighted sum of eight columns.
struct Found {
  float largest[GROUP];
  float sum[GROUP];
  float values[GROUP][8];

  __device__ __forceinline__ void take(int g, float score, const float (&value)[8]) {
    const float larger = fmaxf(largest[g], score);
    const float keep = __expf(largest[g] - larger), weight = __expf(score - larger);
    largest[g] = larger;
    sum[g] = sum[g] * keep + weight;
#pragma unroll
    for (int e = 0; e < 8; e++) values[g][e] = values[g][e] * keep + weight * value[e];
  }
};

__device__ __forceinline__ void eight_floats(const uint4& halves, float (&to)[8]) {
  const u32* pairs = reinterpret_cast<const u32*>(&halves);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    to[2 * i] = low(pairs[i]);
    to[2 * i + 1] = high(pairs[i]);
  }
}

// A query times a key, of which each lane of a token has eight columns; all of them get it.
__device__ __forceinline__ float score_of(const float (&query)[8], const float (&key)[8]) {
  float score = 0;
#pragma unroll
  for (int e = 0; e < 8; e++) score += query[e] * key[e];
#pragma unroll
  for (int step = LANES_OF_TOKEN / 2; step > 0; step /= 2) score += __shfl_xor_sync(ALL, score, step);
  return score;
}

// How much of what was found elsewhere counts when the largest of all is known.
__device__ __forceinline__ float share(float largest, float of_all) {
  return largest == MINUS_INFINITY ? 0 : __expf(largest - of_all);
}

// Tokens of a part, at least: what parts cost is putting them together.
#define LEAST_TOKENS_OF_PART 64

// mixed (ROWS, HEADS * HEAD_DIM). A block takes the queries of one head of keys of one chat, over one part of its tokens;
// the block that ends last puts the parts together. keys, values: (slots, KV_HEADS, capacity, HEAD_DIM); `last` is the
// index of the new token, whose key and value are written there; `slots` says where a chat lies, -1 for rows without
// one. parts: for each row, head and part the largest score, the sum, and the columns.
extern "C" __global__ void __launch_bounds__(MIX_WARPS * WARP) mix(
    const float* qkv, const u16* query_norm, const u16* key_norm, const u16* cosines, const u16* sines,
    const i64* positions, const int* last, const int* slots, u16* keys, u16* values, float* parts, u32* arrived,
    u16* mixed, int capacity) {
  __shared__ float queries[GROUP][HEAD_DIM];
  __shared__ float new_key[HEAD_DIM];
  __shared__ float largest_of[MIX_WARPS][GROUP], sum_of[MIX_WARPS][GROUP];
  __shared__ float values_of[MIX_WARPS][GROUP][HEAD_DIM];
  __shared__ bool is_last;
  let_next_begin();
  ask_for<HEAD_DIM>(query_norm);
  ask_for<HEAD_DIM>(key_norm);
  wait_for_earlier();
  const int head = blockIdx.x, part = blockIdx.y, b = blockIdx.z;
  const int slot = slots[b], tokens = last[b];
  const int used = min(PARTS, tokens / LEAST_TOKENS_OF_PART + 1);
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const float* row = qkv + b * QKV;
  const u16* cosine = cosines + positions[b] * (HEAD_DIM / 2);
  const u16* sine = sines + positions[b] * (HEAD_DIM / 2);
  if (slot < 0 || part >= used) return;
  for (int g = warp; g <= GROUP; g += MIX_WARPS) {
    if (g < GROUP) {
      const float factor = rsqrtf((float)HEAD_DIM);
      rotate_head(row + (head * GROUP + g) * HEAD_DIM, query_norm, cosine, sine, factor, queries[g]);
    } else if (part == 0) {
      rotate_head(row + (HEADS + head) * HEAD_DIM, key_norm, cosine, sine, 1, new_key);
    }
  }
  __syncthreads();
  const i64 first = ((i64)slot * KV_HEADS + head) * capacity;
  const int from = (lane % LANES_OF_TOKEN) * 8;
  float query[GROUP][8];
  Found found;
#pragma unroll
  for (int g = 0; g < GROUP; g++) {
    found.largest[g] = MINUS_INFINITY;
    found.sum[g] = 0;
#pragma unroll
    for (int e = 0; e < 8; e++) {
      query[g][e] = queries[g][from + e];
      found.values[g][e] = 0;
    }
  }
  const int each = (tokens + used - 1) / used;
  const int end = min(tokens, (part + 1) * each);
  constexpr int STEP = MIX_WARPS * TOKENS_OF_WARP;
  for (int token = part * each + warp * TOKENS_OF_WARP; token < end; token += AT_ONCE * STEP) {
    uint4 key[AT_ONCE], value[AT_ONCE];
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
      const int mine = token + i * STEP + lane / LANES_OF_TOKEN;
      const i64 at = (first + min(mine, end - 1)) * HEAD_DIM + from;
      key[i] = *reinterpret_cast<const uint4*>(keys + at);
      value[i] = *reinterpret_cast<const uint4*>(values + at);
    }
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
      const bool there = token + i * STEP + lane / LANES_OF_TOKEN < end;
      float k[8], v[8];
      eight_floats(key[i], k);
      eight_floats(value[i], v);
#pragma unroll
      for (int g = 0; g < GROUP; g++) {
        const float score = score_of(query[g], k);
        if (there) found.take(g, score, v);
      }
    }
  }
  if (part == 0 && warp == 0) {
    const float* value = row + (HEADS + KV_HEADS + head) * HEAD_DIM;
    float k[8], v[8];
#pragma unroll
    for (int e = 0; e < 8; e++) {
      const u16 key_half = to_half(new_key[from + e]), value_half = to_half(value[from + e]);
      k[e] = to_float(key_half);
      v[e] = to_float(value_half);
      if (lane < LANES_OF_TOKEN) {
        keys[(first + tokens) * HEAD_DIM + from + e] = key_half;
        values[(first + tokens) * HEAD_DIM + from + e] = value_half;
      }
    }
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
      const float score = score_of(query[g], k);
      if (lane < LANES_OF_TOKEN) found.take(g, score, v);
    }
  }
  // The lanes that hold the same columns of other tokens, then the warps.
#pragma unroll
  for (int g = 0; g < GROUP; g++) {
#pragma unroll
    for (int step = LANES_OF_TOKEN; step < WARP; step *= 2) {
      const float other = __shfl_xor_sync(ALL, found.largest[g], step);
      const float larger = fmaxf(found.largest[g], other);
      const float keep = share(found.largest[g], larger);
      found.largest[g] = larger;
      found.sum[g] *= keep;
      found.sum[g] += __shfl_xor_sync(ALL, found.sum[g], step);
#pragma unroll
      for (int e = 0; e < 8; e++) {
        found.values[g][e] *= keep;
        found.values[g][e] += __shfl_xor_sync(ALL, found.values[g][e], step);
      }
    }
    if (lane == 0) {
      largest_of[warp][g] = found.largest[g];
      sum_of[warp][g] = found.sum[g];
    }
    if (lane < LANES_OF_TOKEN) {
#pragma unroll
      for (int e = 0; e < 8; e++) values_of[warp][g][from + e] = found.values[g][e];
    }
  }
  __syncthreads();
  constexpr int PART = HEAD_DIM + 2;
  float* mine = parts + (((i64)b * HEADS + head * GROUP) * PARTS) * PART;
#pragma unroll 1
  for (int i = threadIdx.x; i < GROUP * HEAD_DIM; i += MIX_WARPS * WARP) {
    const int g = i / HEAD_DIM, column = i % HEAD_DIM;
    float largest = MINUS_INFINITY;
#pragma unroll 4
    for (int w = 0; w < MIX_WARPS; w++) largest = fmaxf(largest, largest_of[w][g]);
    float sum = 0, value = 0;
#pragma unroll 4
    for (int w = 0; w < MIX_WARPS; w++) {
      const float weight = share(largest_of[w][g], largest);
      sum += weight * sum_of[w][g];
      value += weight * values_of[w][g][column];
    }
    if (used == 1) {
      mixed[(b * HEADS + head * GROUP + g) * HEAD_DIM + column] = to_half(value / sum);
      continue;
    }
    float* to = mine + (g * PARTS + part) * PART;
    __stcg(to + 2 + column, value);
    if (column == 0) {
      __stcg(to, largest);
      __stcg(to + 1, sum);
    }
  }
  if (used == 1) return;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicAdd(arrived + b * KV_HEADS + head, 1) == used - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
#pragma unroll 1
  for (int i = threadIdx.x; i < GROUP * HEAD_DIM; i += MIX_WARPS * WARP) {
    const int g = i / HEAD_DIM, column = i % HEAD_DIM;
    const float* of = mine + g * PARTS * PART;
    float largest = MINUS_INFINITY;
#pragma unroll 4
    for (int p = 0; p < used; p++) largest = fmaxf(largest, __ldcg(of + p * PART));
    float sum = 0, value = 0;
#pragma unroll 4
    for (int p = 0; p < used; p++) {
      const float weight = share(__ldcg(of + p * PART), largest);
      sum += weight * __ldcg(of + p * PART + 1);
      value += weight * __ldcg(of + p * PART + 2 + column);
    }
    mixed[(b * HEADS + head * GROUP + g) * HEAD_DIM + column] = to_half(value / sum);
  }
  if (threadIdx.x == 0) arrived[b * KV_HEADS + head] = 0;
}

// ---- The best candidates ----

// A score and its token in one number that sorts: larger scores first, then smaller tokens. Never 0.
__device__ __forceinline__ u64 sortable(float score, u32 id) {
  const u32 bits = __float_as_uint(score);
  const u32 ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (u64)ordered << 32 | (0xffffffffu - id);
}

// The CANDIDATES largest of all keys of a block, in any order; zeros where there are not as many. All keys differ but
// zeros, so a bound that leaves exactly as many can be found, bit by bit.
template <int EACH>
__device__ __forceinline__ void largest_keys(const u64 (&keys)[EACH], u64* to) {
  __shared__ int taken;
  for (int i = threadIdx.x; i < CANDIDATES; i += THREADS) to[i] = 0;
  if (threadIdx.x == 0) taken = 0;
  u64 bound = 0;
#pragma unroll 1
  for (int bit = 63; bit >= 0; bit--) {
    const u64 higher = bound | 1ull << bit;
    int count = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++) count += __syncthreads_count(keys[i] >= higher);
    if (count >= CANDIDATES) bound = higher;
    if (count == CANDIDATES) break;
  }
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (keys[i] != 0 && keys[i] >= bound) to[atomicAdd(&taken, 1)] = keys[i];
  }
  __syncthreads();
}

#define SEARCH_EACH ((VOCABULARY + SEARCH_PARTS * THREADS - 1) / (SEARCH_PARTS * THREADS))

// found (ROWS, SEARCH_PARTS, CANDIDATES): the best of each part of the vocabulary.
extern "C" __global__ void __launch_bounds__(THREADS) search(const float* logits, u64* found) {
  __shared__ u64 best[CANDIDATES];
  let_next_begin();
  wait_for_earlier();
  const int part = blockIdx.x, b = blockIdx.y;
  u64 keys[SEARCH_EACH];
#pragma unroll
  for (int i = 0; i < SEARCH_EACH; i++) {
    const int id = (part * SEARCH_EACH + i) * THREADS + threadIdx.x;
    keys[i] = id < VOCABULARY ? sortable(logits[(i64)b * VOCABULARY + id], id) : 0;
  }
  largest_keys<SEARCH_EACH>(keys, best);
  for (int i = threadIdx.x; i < CANDIDATES; i += THREADS) found[(b * SEARCH_PARTS + part) * CANDIDATES + i] = best[i];
}

#define CHOOSE_EACH ((SEARCH_PARTS * CANDIDATES + THREADS - 1) / THREADS)

// scores, ids (ROWS, CANDIDATES): the best of all, the largest first.
extern "C" __global__ void __launch_bounds__(THREADS) choose(const u64* found, float* scores, i64* ids) {
  __shared__ u64 best[CANDIDATES];
  let_next_begin();
  wait_for_earlier();
  const int b = blockIdx.x;
  u64 keys[CHOOSE_EACH];
#pragma unroll
  for (int i = 0; i < CHOOSE_EACH; i++) {
    const int at = i * THREADS + threadIdx.x;
    keys[i] = at < SEARCH_PARTS * CANDIDATES ? found[b * SEARCH_PARTS * CANDIDATES + at] : 0;
  }
  largest_keys<CHOOSE_EACH>(keys, best);
  for (int i = threadIdx.x; i < CANDIDATES; i += THREADS) {
    int place = 0;
#pragma unroll 4
    for (int other = 0; other < CANDIDATES; other++) place += best[other] > best[i];
    const u32 ordered = (u32)(best[i] >> 32);
    const u32 bits = ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered;
    scores[b * CANDIDATES + place] = __uint_as_float(bits);
    ids[b * CANDIDATES + place] = 0xffffffffu - (u32)best[i];
  }
}
