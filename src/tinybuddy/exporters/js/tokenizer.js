/* Text to token ids and back. Ids 0 to 2 are <pad>, <bos> and <eos>, which stand for no text. */

const SPECIAL = ["<pad>", "<bos>", "<eos>"];
const KINDS = ["bpe", "bpe", "characters", "unigram"];
const BYTE_LEVEL = 0; // the first of them: bytes, where the others have characters

// GPT-2's: a token of BPE lies within one of these. JavaScript's own \s is another set.
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

export class Tokenizer {
  bos = 1;
  eos = 2;

  /** Takes what a .buddy file holds of it: a byte for the kind, one for the decimals of scores, how
      many tokens and merges (u32), the tokens, each ended by 0xff, and the merges or scores. */
  constructor(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const count = view.getUint32(2, true);
    const mergeCount = view.getUint32(6, true);
    let at = 10;
    this.kind = KINDS[bytes[0]];
    this.byteLevel = bytes[0] === BYTE_LEVEL;
    // Tokens as strings: a character for each byte, or for each character.
    this.tokens = [...SPECIAL];
    if (this.byteLevel) for (let b = 0; b < 256; b++) this.tokens.push(String.fromCharCode(b));
    for (let i = 0; i < count; i++) {
      const end = bytes.indexOf(0xff, at);
      this.tokens.push(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(at, end)));
      at = end + 1;
    }
    this.idOf = new Map(this.tokens.map((token, id) => [token, id]));
    this.rank = new Map(); // of the merge of two ids, as left * 65,536 + right
    this.merged = []; // the id that it gives
    const rest = bytes.subarray(at);
    if (this.kind === "bpe") this.#readMerges(planes(rest, 2 * mergeCount, 2), mergeCount);
    if (this.kind === "unigram") this.scores = readScores(rest, count, bytes[1]);
    this.longest = Math.max(...this.tokens.map((token) => token.length));
    const encoder = new TextEncoder();
    this.pieces = this.tokens.map((token, id) => {
      if (id < SPECIAL.length) return new Uint8Array();
      return this.byteLevel ? Uint8Array.from(token, (c) => c.charCodeAt(0)) : encoder.encode(token);
    });
  }

  get vocabSize() {
    return this.tokens.length;
  }

  #readMerges(ids, count) {
    for (let i = 0; i < count; i++) {
      const [left, right] = [ids[i], ids[count + i]];
      const token = this.tokens[left] + this.tokens[right];
      if (!this.idOf.has(token)) {
        this.idOf.set(token, this.tokens.length);
        this.tokens.push(token);
      }
      this.rank.set(left * 65536 + right, i);
      this.merged.push(this.idOf.get(token));
    }
  }

  /** Token ids of a text, without <bos> and <eos>. Unknown characters are left out. */
  encode(text) {
    if (typeof text !== "string") throw new TypeError("A text must be a string.");
    if (/\p{Surrogate}/u.test(text)) {
      throw new RangeError("The text holds half a character (a lone surrogate), so it is no Unicode.");
    }
    if (this.kind === "unigram") return this.#mostProbable(this.#known(text));
    if (this.kind === "characters") return this.#known(text).map((c) => this.idOf.get(c));
    const ids = [];
    for (const [word] of text.matchAll(WORDS)) ids.push(...this.#merge(word));
    return ids;
  }

  /** The characters of a text that the tokenizer does not know, each once. */
  unknown(text) {
    return this.byteLevel ? "" : [...new Set(text)].filter((c) => !this.idOf.has(c)).join("");
  }

  #known(text) {
    return [...text].filter((c) => this.idOf.has(c));
  }

  /** BPE (Sennrich et al. 2016, arXiv 1508.07909): joins the neighbours whose merge was learnt
      first, again and again. */
  #merge(word) {
    const bytes = new TextEncoder().encode(word);
    const ids = this.byteLevel
      ? Array.from(bytes, (b) => SPECIAL.length + b)
      : this.#known(word).map((c) => this.idOf.get(c));
    const rank = (i) => this.rank.get(ids[i] * 65536 + ids[i + 1]) ?? Infinity;
    const ranks = ids.map((_, i) => rank(i)); // of each with its right neighbour
    for (;;) {
      let first = 0;
      for (let i = 1; i < ranks.length; i++) if (ranks[i] < ranks[first]) first = i;
      if (!(ranks[first] < Infinity)) return ids;
      ids.splice(first, 2, this.merged[ranks[first]]);
      ranks.splice(first, 1);
      ranks[first] = rank(first);
      if (first > 0) ranks[first - 1] = rank(first - 1);
    }
  }

  /** Unigram (Kudo 2018, arXiv 1804.10959): the tokens whose product of probabilities is largest. */
  #mostProbable(characters) {
    const size = characters.length;
    const best = new Float64Array(size + 1).fill(-Infinity); // score of the text up to each place
    const last = new Int32Array(size + 1); // the token that ends there
    const begin = new Int32Array(size + 1); // and where it begins
    best[0] = 0;
    for (let from = 0; from < size; from++) {
      let token = "";
      for (let to = from; to < size && token.length < this.longest; ) {
        token += characters[to++];
        const id = this.idOf.get(token);
        if (!(id >= SPECIAL.length)) continue;
        const score = best[from] + this.scores[id - SPECIAL.length];
        if (score > best[to]) [best[to], last[to], begin[to]] = [score, id, from];
      }
    }
    const ids = [];
    for (let to = size; to > 0; to = begin[to]) ids.push(last[to]);
    return ids.reverse();
  }

  /** Text of some ids; broken UTF-8 becomes U+FFFD. */
  decode(ids) {
    const next = this.decoder();
    return Array.from(ids, next).join("") + next();
  }

  /** A function from the next id of a text to the characters that are finished by it. Called with
      nothing, it gives what is left. */
  decoder() {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return (id) => decoder.decode(this.pieces[id], { stream: id !== undefined });
  }
}

/** Numbers of several bytes that stand in planes: of all the first byte, of all the second, ... */
function planes(bytes, count, size) {
  const numbers = new Uint32Array(count);
  for (let i = 0; i < count * size; i++) numbers[i % count] += bytes[i] * 256 ** Math.floor(i / count);
  return numbers;
}

/** Log-probabilities: whole numbers, each less the one before, divided by a power of ten. */
function readScores(bytes, count, decimals) {
  if (decimals === 255) return new Float64Array(bytes.slice(0, 8 * count).buffer);
  let total = 0;
  return Float64Array.from(planes(bytes, count, 4), (difference) => {
    total = (total + difference) >>> 0;
    return -total / 10 ** decimals;
  });
}
