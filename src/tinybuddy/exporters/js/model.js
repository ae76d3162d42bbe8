/* A model that one can talk to: prompt in, stream of text out. */
import { Decoder } from "./decoder.js";
import { readFile } from "./file.js";
import { PCG32, sample } from "./sampling.js";
import { Session, check, lastHalf } from "./session.js";

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
