/* How the next token is drawn: repetition penalty, temperature, top-k, top-p, min-p, draw, in this
   order; ties go to the lower id. The same seed tells the same story as in Python. */

/** Random numbers: PCG32 (O'Neill 2014, pcg-random.org, XSH RR 64/32, stream 54). */
export class PCG32 {
  constructor(seed) {
    this.state = 0n;
    this.next();
    this.state += BigInt(seed);
    this.next();
  }

  /** A whole number from 0 to 2^32 - 1. */
  next() {
    const old = BigInt.asUintN(64, this.state);
    this.state = BigInt.asUintN(64, old * 6364136223846793005n + 109n);
    const shifted = Number(BigInt.asUintN(32, ((old >> 18n) ^ old) >> 27n));
    const turn = Number(old >> 59n);
    return ((shifted >>> turn) | (shifted << (-turn & 31))) >>> 0;
  }

  /** A number from [0, 1). */
  uniform() {
    return this.next() / 2 ** 32;
  }
}

/** The probability of each token. `seen` are the ids so far, which a repetition penalty makes rarer;
    `result`, if given, is what is filled and returned. */
export function probabilities(logits, settings, seen, result = new Float64Array(logits.length)) {
  const { repetitionPenalty, temperature, topK, topP, minP } = settings;
  result.set(logits);
  if (repetitionPenalty !== 1) { // Keskar et al. 2019 (CTRL, arXiv 1909.05858)
    for (const id of new Set(seen)) {
      result[id] *= result[id] > 0 ? 1 / repetitionPenalty : repetitionPenalty;
    }
  }
  let best = 0, total = 0;
  for (let id = 0; id < result.length; id++) {
    if (result[id] > result[best]) best = id;
    total += result[id];
  }
  if (!Number.isFinite(total)) {
    throw new Error("The model's numbers are not finite: its weights are broken.");
  }
  if (temperature === 0) {
    result.fill(0);
    result[best] = 1;
    return result;
  }
  const highest = result[best];
  const limited = topK > 0 && topK < result.length;
  // The ids in question, best first; where all are, in their order.
  const ids = limited || topP < 1 ? bestOf(result, limited ? topK : result.length) : null;
  const weights = ids ? ids.map((id) => result[id]) : result;
  for (let i = 0; i < weights.length; i++) {
    weights[i] = Math.exp((weights[i] - highest) / temperature);
  }
  if (topP < 1) { // Holtzman et al. 2019, arXiv 1904.09751
    const most = topP * sum(weights);
    for (let i = 0, before = 0; i < weights.length; i++) {
      const weight = weights[i];
      if (before > 0 && before >= most) weights[i] = 0;
      before += weight;
    }
  }
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] < minP) weights[i] = 0; // Nguyen et al. 2024, arXiv 2407.01082; the best has 1
  }
  total = sum(weights);
  for (let i = 0; i < weights.length; i++) weights[i] /= total;
  if (ids) {
    result.fill(0);
    for (let i = 0; i < ids.length; i++) result[ids[i]] = weights[i];
  }
  return result;
}

/** Draws an id: the first whose running sum of probabilities exceeds a uniform number. */
export function draw(probability, random) {
  const target = random.uniform() * sum(probability);
  let id = 0;
  for (let running = probability[0]; running <= target; running += probability[id]) id++;
  return id;
}

/** Draws the next token; a temperature of 0 uses no random number. */
export function sample(logits, settings, random, seen, scratch) {
  const probability = probabilities(logits, settings, seen, scratch);
  return settings.temperature === 0 ? probability.indexOf(1) : draw(probability, random);
}

/** Ids of the `count` best scores, best first. For 40 of 1,024, putting each in its place is more than
    ten times as fast as sorting all. */
function bestOf(scores, count) {
  if (count > 200) {
    return Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]).slice(0, count);
  }
  const ids = [];
  let least = -Infinity; // what a score must exceed to be among them
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id];
    if (score <= least) continue;
    let at = Math.min(ids.length, count - 1);
    for (; at > 0 && scores[ids[at - 1]] < score; at--) ids[at] = ids[at - 1];
    ids[at] = id;
    if (ids.length === count) least = scores[ids[count - 1]];
  }
  return ids;
}

function sum(numbers) {
  let total = 0;
  for (let i = 0; i < numbers.length; i++) total += numbers[i];
  return total;
}
