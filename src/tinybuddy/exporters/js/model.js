/* A model that one can talk to: prompt in, stream of text out. */
import { Decoder } from "./decoder.js";
import { readFile } from "./file.js";
import { PCG32, probabilities, sample } from "./sampling.js";

const BREATH = 10; // milliseconds, after which a page may do something else

/** Settings that are no part of a model's own, which are in its file. */
const DEFAULTS = { seed: 0, maxNewTokens: 512, stop: [], onNote: (note) => console.warn(note) };

export class Model {
  #decoder;

  /** Takes the bytes of a .buddy file. */
  constructor(bytes) {
    const { config, sampleConfig, parameters, tokenizer, weights } = readFile(bytes);
    Object.assign(this, { config, sampleConfig, parameters, tokenizer });
    this.#decoder = new Decoder(config, weights);
  }

  /** A story, piece by piece: the prompt first. It ends where the story does, after `maxNewTokens`,
      or before a text `stop`. A page stays alive meanwhile. */
  stream(prompt = "", settings = {}) {
    return breathing(this.#pieces(prompt, settings));
  }

  /** The whole story at once. */
  generate(prompt = "", settings = {}) {
    return [...this.#pieces(prompt, settings)].join("");
  }

  /** A text whose next token the caller chooses, to look inside. */
  session(prompt = "") {
    return new Session(this, this.#decoder, prompt);
  }

  #pieces(prompt, settings) {
    const checked = check({ ...this.sampleConfig, ...DEFAULTS }, settings);
    const session = this.session(prompt);
    const unknown = this.tokenizer.unknown(prompt);
    if (unknown) checked.onNote(`(the model does not know ${unknown}, and skips it)`);
    const pieces = until(this.#continued(session, checked), [checked.stop].flat());
    return prompt ? chain([prompt], pieces) : pieces;
  }

  /** The heart of it: look at the logits, draw a token, read it, and so on. */
  *#continued(session, settings) {
    const { maxNewTokens, seed, onNote } = settings;
    const context = this.config.maxPositionEmbeddings;
    const random = new PCG32(seed ?? Math.floor(Math.random() * 2 ** 32));
    const scratch = new Float64Array(this.config.vocabSize);
    const text = this.tokenizer.decoder();
    let noted = false;
    for (let count = 0; count < maxNewTokens; count++) {
      if (session.start > 0 && !noted) {
        noted = true;
        onNote(
          `(the story is longer than the ${context} tokens that the model sees at a time, its ` +
            `context: it went on from the last ${lastHalf(context)})`,
        );
      }
      const id = sample(session.logits, settings, random, session.ids, scratch);
      if (id === this.tokenizer.eos) break;
      yield text(id);
      if (count + 1 < maxNewTokens) session.step(id);
    }
    yield text();
  }
}

/** A text that the model has read, and what it thinks comes next. */
export class Session {
  #model;
  #decoder;
  #cache;
  #starts = [0]; // of what the model still reads: a further one each time the window slid
  #read = 0; // ids from there on that are in the cache

  constructor(model, decoder, prompt) {
    this.#model = model;
    this.#decoder = decoder;
    this.#cache = decoder.newCache();
    /** Token ids, <bos> first. */
    this.ids = [model.tokenizer.bos, ...model.tokenizer.encode(prompt)];
    /** Score of each token as the next one. */
    this.logits = new Float32Array(model.config.vocabSize);
    this.#readOn();
  }

  /** The first id that the model still reads: past its context it goes on from the last half. */
  get start() {
    return this.#starts.at(-1);
  }

  /** Reads a further token. */
  step(id) {
    if (!(Number.isInteger(id) && id >= 0 && id < this.logits.length)) {
      throw new RangeError(`There is no token ${id}.`);
    }
    this.ids.push(id);
    this.#readOn();
  }

  /** Takes the last token back; returns it. */
  back() {
    if (this.ids.length === 1) throw new RangeError("There is nothing before <bos>.");
    const id = this.ids.pop();
    const left = this.ids.length - this.start;
    if (this.start > 0 && left < lastHalf(this.#model.config.maxPositionEmbeddings)) {
      this.#starts.pop(); // this token made it slide
      this.#read = 0;
    } else {
      this.#read = left - 1; // the last one again, for its logits
    }
    this.#readOn();
    return id;
  }

  /** How probable each token is next, as it would be drawn. */
  probabilities(settings = {}) {
    const checked = check({ ...this.#model.sampleConfig }, settings);
    return probabilities(this.logits, checked, this.ids);
  }

  /** What the model computed at a place among `ids`, the last unless told otherwise: see
      `Inspection` in buddy.d.ts. */
  inspect(index = this.ids.length - 1) {
    const position = index - this.start;
    if (!(index < this.ids.length && position >= 0)) throw new RangeError(`Nothing is read at ${index}.`);
    const { numAttentionHeads, numHiddenLayers, maxPositionEmbeddings } = this.#model.config;
    const layers = Array.from({ length: numHiddenLayers }, () => ({}));
    const seen = { id: this.ids[index], layers, logits: new Float32Array(this.logits.length) };
    // It is read again, which changes nothing in the cache.
    this.#decoder.read(this.#cache, seen.id, position, seen.logits, (name, layer, numbers) => {
      if (name === "embedding") seen.embedding = numbers.slice();
      else if (name !== "attention") layers[layer][name] = numbers.slice();
      else {
        layers[layer].attention = Array.from({ length: numAttentionHeads }, (_, head) => {
          const row = head * maxPositionEmbeddings;
          return numbers.slice(row, row + position + 1);
        });
      }
    });
    return seen;
  }

  #readOn() {
    const context = this.#model.config.maxPositionEmbeddings;
    if (this.ids.length - this.start > context) { // the window slides
      this.#starts.push(this.ids.length - lastHalf(context));
      this.#read = 0;
    }
    const length = this.ids.length - this.start;
    while (this.#read < length) {
      const logits = this.#read === length - 1 ? this.logits : null;
      this.#decoder.read(this.#cache, this.ids[this.start + this.#read], this.#read, logits);
      this.#read++;
    }
  }
}

function lastHalf(context) {
  return Math.max(1, Math.floor(context / 2));
}

/** Defaults with a caller's settings, all of which must be known and possible. */
function check(defaults, settings) {
  const checked = { ...defaults };
  for (const [name, value] of Object.entries(settings)) {
    if (!Object.hasOwn(defaults, name)) {
      throw new TypeError(`There is no setting ${name}, but ${Object.keys(defaults).join(", ")}.`);
    }
    if (value === undefined) continue;
    const [what, isPossible] = POSSIBLE[name];
    if (!isPossible(value)) throw new RangeError(`${name} must be ${what}, not ${String(value)}.`);
    checked[name] = value;
  }
  return checked;
}

const isWhole = (value) => Number.isSafeInteger(value) && value >= 0;
const isText = (value) => typeof value === "string";
const whole = ["a whole number, 0 or more", isWhole];
const between = (least, most) => [
  `a number from ${least} to ${most}`,
  (value) => typeof value === "number" && value >= least && value <= most,
];
const POSSIBLE = {
  repetitionPenalty: between(0.01, 100),
  temperature: between(0, 100), // 0 always takes the best token
  topK: whole, // 0 is off
  topP: between(0, 1),
  minP: between(0, 1),
  maxNewTokens: whole,
  seed: [
    "a whole number, 0 or more, or null",
    (value) => value === null || isWhole(value) || (typeof value === "bigint" && value >= 0n),
  ],
  stop: ["a text or several", (value) => [value].flat().every(isText)],
  onNote: ["a function", (value) => typeof value === "function"],
};

/** Pieces of a text up to where the first of some stop strings begins. What may be the beginning of
    one is held back until that is known. */
function* until(pieces, stops) {
  const some = stops.filter((stop) => stop);
  const firstIn = (text) => Math.min(text.length, ...some.map((stop) => text.indexOf(stop) >>> 0));
  let held = "";
  for (const piece of pieces) {
    held += piece;
    const sure = held.length - Math.max(0, ...some.map((stop) => overlap(held, stop)));
    const first = firstIn(held);
    if (first <= sure && first < held.length) break; // no stop that begins before it can still come
    if (sure) yield held.slice(0, sure);
    held = held.slice(sure);
  }
  const rest = held.slice(0, firstIn(held));
  if (rest) yield rest;
}

/** Length of the longest end of a text that begins `stop`. */
function overlap(text, stop) {
  let n = Math.min(text.length, stop.length - 1);
  while (n > 0 && !stop.startsWith(text.slice(-n))) n--;
  return n;
}

function* chain(...parts) {
  for (const part of parts) yield* part;
}

/** The same pieces, with a pause from time to time in which a page draws and listens. */
async function* breathing(pieces) {
  let since = performance.now();
  for (const piece of pieces) {
    yield piece;
    if (performance.now() - since < BREATH) continue;
    await new Promise((resolve) => setTimeout(resolve));
    since = performance.now();
  }
}
