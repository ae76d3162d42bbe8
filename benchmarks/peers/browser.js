/* Decoding in a browser, by the engine of the page and by onnxruntime-web with the same weights. */
import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { PCG32, draw, load, probabilities } from "./buddy.js";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
const model = load();
const session = await ort.InferenceSession.create("./model.onnx", { executionProviders: ["wasm"] });
export const versions = { onnxruntime: ort.env.versions.web };

const CHOSEN = { repetitionPenalty: 1, temperature: 0.8, topK: 40, topP: 1, minP: 0 };
const GREEDY = { ...CHOSEN, temperature: 0 };
const { maxPositionEmbeddings: context, numHiddenLayers, numKeyValueHeads, headDim } = model.config;

const PEERS = {
  page() {
    const text = model.session("");
    return { logits: async () => text.logits, read: (id) => text.step(id) };
  },

  /** Fed token by token, the keys and values of those before given back to it each time. */
  onnxruntime() {
    let past = {};
    for (let layer = 0; layer < numHiddenLayers; layer++) {
      for (const kind of ["key", "value"]) {
        past[`past_key_values.${layer}.${kind}`] =
          new ort.Tensor("float32", [], [1, numKeyValueHeads, 0, headDim]);
      }
    }
    let id = model.tokenizer.bos;
    let length = 0;
    const whole = (numbers, shape) => new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), shape);
    return {
      async logits() {
        const found = await session.run({
          input_ids: whole([id], [1, 1]),
          attention_mask: whole(Array(length + 1).fill(1), [1, length + 1]),
          position_ids: whole([length++], [1, 1]),
          ...past,
        });
        const present = Object.entries(found).filter(([name]) => name.startsWith("present"));
        past = Object.fromEntries(present.map(([name, value]) =>
          [name.replace("present", "past_key_values"), value]));
        return found.logits.data;
      },
      read: (next) => (id = next),
    };
  },
};

/** Token ids of a story as long as the context. */
async function story(peer, settings, seed) {
  const text = PEERS[peer]();
  const random = new PCG32(seed);
  const ids = [model.tokenizer.bos];
  while (ids.length < context) {
    const probable = probabilities(await text.logits(), settings, ids);
    ids.push(settings.temperature ? draw(probable, random) : probable.indexOf(1));
    text.read(ids.at(-1));
  }
  return ids;
}

export const greedy = (peer) => story(peer, GREEDY, 0);

/** Tokens a second of stories, for so many seconds at least. */
export async function speed(peer, seconds, seed) {
  const since = performance.now();
  let count = 0;
  while (performance.now() - since < 1000 * seconds) {
    count += (await story(peer, CHOSEN, seed++)).length - 1;
  }
  return (1000 * count) / (performance.now() - since);
}
