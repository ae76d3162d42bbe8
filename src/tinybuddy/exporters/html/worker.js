/* What stands behind the engine in the worker: it keeps the text, and answers the page. */
import { Decoder, multiply, rmsNorm } from "../js/decoder.js";
import { fromText, readFile } from "../js/file.js";
import { inflate } from "../js/inflate.js";
import { PCG32, bestOf, probabilities, sample } from "../js/sampling.js";
import { Session, check } from "../js/session.js";
import { BUDDY } from "../js/weights.js";

const SHOWN = 10; // tokens that are shown as the next one
const TYPED = 60; // tokens of a prompt that are shown while it is typed
const SAID = 3; // tokens that are shown at each layer
const WORD_BITS = 18; // of a hash

const model = readFile(fromText(BUDDY));
const { config, tokenizer, weights } = model;
const decoder = new Decoder(config, weights);
const scratch = new Float64Array(config.vocabSize);
let session, random, text;
let begun; // with what the story began
let states = []; // of `random` before each token was drawn; null where none was

const ACTIONS = {
  /** What the page should know of the model. */
  open({ packedWords, wordBytes }) {
    const { sampleConfig } = model;
    const words = wordBytes ? unpackWords(inflate(fromText(packedWords), wordBytes)) : null;
    return { config, sampleConfig, words };
  },

  /** The tokens of a text that is being typed: their number, and the last ones. */
  tokens({ prompt }) {
    const ids = tokenizer.encode(prompt);
    const names = ids.slice(-TYPED).map(nameOf);
    return { count: ids.length, names, unknown: tokenizer.unknown(prompt) };
  },

  /** Begins a story. `picks` are tokens that are not drawn: pairs of place and id. */
  begin({ prompt, seed, picks }) {
    session = new Session(model, decoder, prompt);
    random = new PCG32(seed);
    begun = { prompt, seed, picks: new Map(picks), length: session.ids.length };
    states = session.ids.map(() => null);
    text = tokenizer.decoder();
    return { tokens: session.ids.map(told), unknown: tokenizer.unknown(prompt) };
  },

  /** Draws some tokens, up to the end of the story. */
  draw({ count, settings }) {
    const checked = check({ ...model.sampleConfig }, settings);
    const tokens = [];
    while (tokens.length < count) {
      const state = random.state;
      const picked = begun.picks.get(session.ids.length);
      const id = picked ?? sample(session.logits, checked, random, session.ids, scratch);
      if (id === tokenizer.eos) {
        random.state = state;
        return { tokens, ended: true };
      }
      tokens.push(read(id, picked === undefined ? state : null));
    }
    return { tokens, ended: false };
  },

  /** Reads a token that the page chose; picks that came later were for another story. */
  pick({ id }) {
    const here = session.ids.length;
    for (const place of begun.picks.keys()) if (place >= here) begun.picks.delete(place);
    return { tokens: [read(id, null)], ended: false };
  },

  /** Takes the last token back, and the random number that drew it. */
  back() {
    session.back();
    random.state = states.pop() ?? random.state;
    text = tokenizer.decoder();
    session.ids.slice(-4).forEach((id) => text(id)); // a character may lack up to three bytes
    return {};
  },

  /** What must be picked for a story with these settings to be the one that stands here: more than
      was, where they were others on the way. `end` is whether it ends here. */
  picks({ settings, end }) {
    const checked = check({ ...model.sampleConfig }, settings);
    const draw = new PCG32(begun.seed);
    const again = new Session(model, decoder, begun.prompt);
    const found = [];
    for (const id of [...session.ids, ...(end ? [tokenizer.eos] : [])].slice(begun.length)) {
      const { state } = draw;
      if (sample(again.logits, checked, draw, again.ids, scratch) !== id) {
        draw.state = state;
        found.push([again.ids.length, id]);
      }
      again.step(id);
    }
    return found;
  },

  /** The tokens that may come next, as the model scores them and as they would be drawn. */
  next({ settings }) {
    const plain = probabilities(session.logits, PLAIN, []);
    const drawn = session.probabilities(settings);
    const ids = bestOf(plain, SHOWN);
    const rows = ids.map((id) => ({
      id, name: nameOf(id), logit: session.logits[id], plain: plain[id], drawn: drawn[id],
    }));
    return { rows, possible: drawn.reduce((count, p) => count + (p > 0), 0) };
  },

  /** What the model computed at a place of the text. */
  look({ index }) {
    const seen = session.inspect(index);
    const streams = [seen.embedding, ...seen.layers.map((layer) => layer.residual)];
    return {
      index,
      start: session.start,
      attention: seen.layers.map((layer) => layer.attention),
      streams: streams.map((stream) => ({ stream, says: said(stream) })),
      used: used(seen),
    };
  },

  /** All weights, as the page draws them: 128 is 0, 3 standard deviations are black or white. */
  weights() {
    return allTensors().map(({ name, group, rows, columns, values }) => {
      const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
      const centre = name === "norm" ? 1 : 0;
      const pixels = Uint8Array.from(values, (x) => {
        return Math.max(0, Math.min(255, 128 + ((x - centre) / deviation / 3) * 127));
      });
      return { name, group, rows, columns, pixels };
    });
  },
};

const PLAIN = { repetitionPenalty: 1, temperature: 1, topK: 0, topP: 1, minP: 0 };

onmessage = ({ data: { number, action, asked } }) => {
  try {
    postMessage({ number, result: ACTIONS[action](asked) });
  } catch (error) {
    postMessage({ number, error: error.message });
  }
};

function read(id, state) {
  session.step(id);
  states.push(state);
  return { ...told(id), picked: state === null };
}

/** A token and the characters that it finishes. */
function told(id) {
  return { id, text: text(id), name: nameOf(id) };
}

/** A token as it is shown alone, with spaces that one can see. */
function nameOf(id) {
  if (id === tokenizer.eos) return "the end";
  if (id < 3) return id === tokenizer.bos ? "begin" : "padding";
  const alone = tokenizer.decode([id]);
  if (alone.includes("\ufffd")) {
    return Array.from(tokenizer.pieces[id], (b) => b.toString(16).padStart(2, "0")).join(" ");
  }
  return alone.replace(/ /g, "·").replace(/\n/g, "↵");
}

/** The logit lens (nostalgebraist 2020): the tokens that a residual stream would say, if the head
    read it at once. */
function said(stream) {
  const logits = new Float32Array(config.vocabSize);
  multiply(logits, 0, weights.embedding, normed(stream, weights.norm));
  const probability = probabilities(logits, PLAIN, []);
  return bestOf(probability, SAID).map((id) => ({ name: nameOf(id), p: probability[id] }));
}

function normed(x, weight) {
  const y = new Float32Array(x.length);
  rmsNorm(y, x, weight, config.rmsNormEps);
  return y;
}

function allTensors() {
  const { hiddenSize: h, vocabSize } = config;
  const tensors = [{ name: "embedding", group: -1, rows: vocabSize, columns: h, values: weights.embedding }];
  weights.layers.forEach((layer, group) => {
    for (const [key, values] of Object.entries(layer)) {
      const columns = key === "down" ? config.intermediateSize : h;
      const name = key.endsWith("Norm") ? "norm" : key;
      tensors.push({ name, group, rows: values.length / columns, columns, values });
    }
  });
  tensors.push({ name: "norm", group: -1, rows: 1, columns: h, values: weights.norm });
  return tensors;
}

/** How much each weight added to what was computed at a place: the size of weight times input, as a
    share of the largest of its tensor. Of the embedding, the row of the token is whole. */
function used({ id, embedding, layers }) {
  let x = embedding;
  const inputs = [];
  layers.forEach((layer, l) => {
    const { inputNorm, postNorm } = weights.layers[l];
    const first = normed(x, inputNorm);
    const second = normed(layer.attended, postNorm);
    inputs.push(x, first, first, first, layer.mixed, layer.attended, second, second, layer.neurons);
    x = layer.residual;
  });
  const last = normed(x, weights.norm);
  return allTensors().map(({ values, columns }, t, { length }) => {
    const input = t === 0 ? last : t === length - 1 ? x : inputs[t - 1];
    const amounts = new Float32Array(values.length);
    let most = 1e-30;
    for (let i = 0, column = 0; i < amounts.length; i++) {
      amounts[i] = Math.abs(values[i] * input[column]);
      if (amounts[i] > most) most = amounts[i];
      if (++column === columns) column = 0;
    }
    const shares = new Uint8Array(amounts.length);
    for (let i = 0; i < shares.length; i++) shares[i] = (255 * amounts[i]) / most;
    if (t === 0) shares.fill(255, id * columns, (id + 1) * columns);
    return shares;
  });
}

/** A bit for each hash: whether a word of the training text has it. */
function unpackWords(gaps) {
  const known = new Uint8Array(2 ** WORD_BITS / 8);
  let hash = 0;
  for (const gap of gaps) {
    hash += gap;
    if (gap < 255) known[hash >> 3] |= 1 << (hash & 7);
  }
  return { known, mask: 2 ** WORD_BITS - 1 };
}
