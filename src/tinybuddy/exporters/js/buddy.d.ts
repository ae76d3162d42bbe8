/** Opens the model that the module holds, or the bytes of another `.buddy` file. */
export function load(bytes?: Uint8Array): Model;

/** How the next token is drawn; applied in this order. */
export interface SampleConfig {
  /** Above 1 makes seen tokens rarer: 0.01 to 100. */
  repetitionPenalty: number;
  /** 0 always takes the best token: 0 to 100. */
  temperature: number;
  /** Draw among the K best tokens; 0 = off. */
  topK: number;
  /** Draw among the best that reach this probability: 0 to 1. */
  topP: number;
  /** Drop tokens below this share of the best one's: 0 to 1. */
  minP: number;
}

export interface Settings extends Partial<SampleConfig> {
  /** The same seed gives the same story, in Python too; null draws one. 0 unless given. */
  seed?: number | bigint | null;
  /** Tokens after the prompt at most. 512 unless given. */
  maxNewTokens?: number;
  /** A text that ends the story, or several; it is no part of the story. */
  stop?: string | string[];
  /** Called with what a reader should know of the story; `console.warn` unless given. */
  onNote?: (note: string) => void;
}

/** The shape of a Llama, under transformers' names. */
export interface ModelConfig {
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  numHiddenLayers: number;
  numAttentionHeads: number;
  numKeyValueHeads: number;
  maxPositionEmbeddings: number;
  ropeTheta: number;
  rmsNormEps: number;
  headDim: number;
}

export class Model {
  constructor(bytes: Uint8Array);
  readonly config: ModelConfig;
  /** How it is sampled unless a call says otherwise. */
  readonly sampleConfig: SampleConfig;
  readonly tokenizer: Tokenizer;
  /** All trained numbers, each counted once. */
  readonly parameters: number;
  /**
   * A story, piece by piece; the first piece is the prompt. It ends where the story does, after
   * `maxNewTokens`, or before a text `stop`. Every 10 ms it lets the page draw and listen.
   * Unknown settings and impossible values throw at once.
   */
  stream(prompt?: string, settings?: Settings): AsyncGenerator<string, void, undefined>;
  /** The whole story at once, prompt first. */
  generate(prompt?: string, settings?: Settings): string;
  /** A text whose next token the caller chooses, to look inside the model. */
  session(prompt?: string): Session;
}

/** A text that the model has read, and what it thinks comes next. */
export class Session {
  private constructor();
  /** Token ids, `<bos>` first. */
  readonly ids: readonly number[];
  /** The first of `ids` that the model still reads: past its context it goes on from the last half. */
  readonly start: number;
  /** Score of each token (vocabSize) as the next one; overwritten by the next step. */
  readonly logits: Float32Array;
  /** Reads a further token. */
  step(id: number): void;
  /** Takes the last token back, and returns it. */
  back(): number;
  /** How probable each token (vocabSize) is next, as it would be drawn. */
  probabilities(settings?: Partial<SampleConfig>): Float64Array;
  /** What the model computed at a place among `ids`, the last one unless given. */
  inspect(index?: number): Inspection;
}

/** What the model computed while it read a token. The residual stream begins as the embedding, and
 *  each layer adds to it twice. */
export interface Inspection {
  /** The token. */
  id: number;
  /** The residual stream (hiddenSize) at the beginning. */
  embedding: Float32Array;
  layers: {
    /** For each head, how much it looks at each token from `start` to this one; the sum is 1. */
    attention: Float32Array[];
    /** What the heads took from there (hiddenSize), side by side. */
    mixed: Float32Array;
    /** The residual stream (hiddenSize) after attention. */
    attended: Float32Array;
    /** Activations (intermediateSize) of the feed-forward layer. */
    neurons: Float32Array;
    /** The residual stream (hiddenSize) after the feed-forward layer. */
    residual: Float32Array;
  }[];
  /** Score of each token (vocabSize) as the next one. */
  logits: Float32Array;
}

export class Tokenizer {
  private constructor();
  readonly bos: number;
  readonly eos: number;
  readonly kind: "bpe" | "characters" | "unigram";
  readonly vocabSize: number;
  /** Text of each token; with byte-level BPE a character for each byte. */
  readonly tokens: readonly string[];
  /** Token ids of a text, without `<bos>` and `<eos>`; unknown characters are left out. */
  encode(text: string): number[];
  /** The characters of a text that the tokenizer does not know, each once. */
  unknown(text: string): string;
  /** Text of some ids; broken UTF-8 becomes U+FFFD. */
  decode(ids: Iterable<number>): string;
  /** A function from the next id of a text to the characters that it finishes, never half of one;
   *  called with nothing, it gives what is left. */
  decoder(): (id?: number) => string;
}

/** The probability of each token; `seen` are the ids that a repetition penalty makes rarer. */
export function probabilities(
  logits: ArrayLike<number>,
  settings: SampleConfig,
  seen?: Iterable<number>,
  result?: Float64Array,
): Float64Array;

/** Draws an id from the probability of each. */
export function draw(probability: Float64Array, random: PCG32): number;

/** Random numbers. */
export class PCG32 {
  constructor(seed: number | bigint);
  /** A whole number from 0 to 2^32 - 1. */
  next(): number;
  /** A number from [0, 1). */
  uniform(): number;
}
