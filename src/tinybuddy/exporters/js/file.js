/* A .buddy file: shape, weights at 4 or 8 bits, tokenizer, and how the model is sampled. */
import { inflate } from "./inflate.js";
import { Tokenizer } from "./tokenizer.js";
import { DIGITS } from "./weights.js";

const HEADER_BYTES = 104;
const MAX_PARAMETERS = 4_000_000; // so that a file from a stranger takes no more memory than that

export function readFile(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = (at) => view.getUint32(at, true);
  const f64 = (at) => view.getFloat64(at, true);
  if (String.fromCharCode(...bytes.subarray(0, 7)) !== "BUDDY\n\x01") {
    throw new Error("This is not a .buddy file of version 1.");
  }
  const config = {
    vocabSize: u32(8),
    hiddenSize: u32(12),
    intermediateSize: u32(16),
    numHiddenLayers: u32(20),
    numAttentionHeads: u32(24),
    numKeyValueHeads: u32(28),
    maxPositionEmbeddings: u32(32),
    ropeTheta: f64(36),
    rmsNormEps: f64(44),
  };
  const sampleConfig = {
    repetitionPenalty: f64(52),
    temperature: f64(60),
    topK: u32(68),
    topP: f64(72),
    minP: f64(80),
  };
  config.headDim = config.hiddenSize / config.numAttentionHeads;
  const { vocabSize, hiddenSize: h, intermediateSize, numHiddenLayers } = config;
  const keyValueSize = config.numKeyValueHeads * config.headDim;
  const rows = vocabSize + numHiddenLayers * (3 * h + 2 * keyValueSize + 2 * intermediateSize);
  const norms = (2 * numHiddenLayers + 1) * h;
  const inBlock = 2 * h * (h + keyValueSize) + 3 * h * intermediateSize;
  const unpacked = [vocabSize * h + numHiddenLayers * inBlock, 2 * rows + 4 * norms, u32(100)];
  const parameters = unpacked[0] + norms;
  const whole = [config.headDim / 2, config.numAttentionHeads / config.numKeyValueHeads];
  const small = parameters <= MAX_PARAMETERS && u32(100) <= MAX_PARAMETERS;
  if (!(small && whole.every(Number.isInteger) && [4, 8].includes(bytes[7]))) {
    throw new Error("This .buddy file has an impossible shape, or is too large.");
  }
  let at = HEADER_BYTES;
  const [codes, scales, tokenizer] = unpacked.map((size, i) => {
    const packed = bytes.subarray(at, (at += u32(88 + 4 * i)));
    return inflate(packed, size);
  });
  return {
    config,
    sampleConfig,
    parameters,
    weights: readWeights(config, bytes[7], codes, scales, rows),
    tokenizer: new Tokenizer(tokenizer),
  };
}

/** Matrices as float32: a weight is its code times the scale of its row. */
function readWeights(config, bits, codes, scales, rows) {
  const { hiddenSize: h, intermediateSize: ff } = config;
  const keyValueSize = config.numKeyValueHeads * config.headDim;
  const largest = 2 ** (bits - 1) - 1;
  // The low bytes of all, then the high ones, are the upper bits of a float32.
  const numbers = Uint32Array.from({ length: rows }, (_, r) => (scales[r] + 256 * scales[rows + r]) << 20);
  const scaleOf = new Float32Array(numbers.buffer);
  let row = 0, code = 0, norm = 2 * rows;

  function matrix(rows, columns) {
    const weights = new Float32Array(rows * columns);
    for (let r = 0, at = 0; r < rows; r++, row++) {
      for (let i = 0; i < columns; i++) weights[at++] = (codes[code++] - largest) * scaleOf[row];
    }
    return weights;
  }

  function vector() {
    return new Float32Array(scales.slice(norm, (norm += 4 * h)).buffer);
  }

  // In this order they stand in the file.
  return {
    embedding: matrix(config.vocabSize, h),
    layers: Array.from({ length: config.numHiddenLayers }, () => ({
      inputNorm: vector(),
      q: matrix(h, h),
      k: matrix(keyValueSize, h),
      v: matrix(keyValueSize, h),
      o: matrix(h, h),
      postNorm: vector(),
      gate: matrix(ff, h),
      up: matrix(ff, h),
      down: matrix(h, ff),
    })),
    norm: vector(),
  };
}

/** Bytes of a text: a block has one more digit than bytes, 5 of 85 digits or 7 of 116. */
export function fromText(text) {
  const base = DIGITS.length;
  const size = base === 85 ? 4 : 6;
  const bytes = new Uint8Array((text.length / (size + 1)) * size);
  for (let i = 0, end = size; i < text.length; i += size + 1, end += size) {
    let number = 0;
    for (const digit of text.slice(i, i + size + 1)) number = number * base + DIGITS.indexOf(digit);
    for (let at = end; at-- > end - size; number = Math.floor(number / 256)) bytes[at] = number % 256;
  }
  return bytes;
}
