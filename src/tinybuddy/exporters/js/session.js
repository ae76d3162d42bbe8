/* A text and what the model computes of it, token by token; and the settings of how it goes on. */
import { probabilities } from "./sampling.js";

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

export function lastHalf(context) {
  return Math.max(1, Math.floor(context / 2));
}

/** Defaults with a caller's settings, all of which must be known and possible. */
export function check(defaults, settings) {
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
