/* A link carries prompt, seed and settings after the #. It may come from anyone, so all of it is
   checked before any of it is used. */

const LONGEST_PROMPT = 20_000;
const MOST_PICKS = 1000;

export const SETTINGS = {
  temperature: { label: "temperature", short: "t", least: 0, most: 2, step: 0.05, why: "Lower: the likeliest. Higher: bolder." },
  topK: { label: "top-k", short: "k", least: 0, most: 200, step: 1, why: "Only the best k; 0 is off." },
  topP: { label: "top-p", short: "p", least: 0, most: 1, step: 0.01, why: "Only the best that reach this probability." },
  minP: { label: "min-p", short: "m", least: 0, most: 1, step: 0.01, why: "Only those above this share of the best." },
  repetitionPenalty: { label: "repetition penalty", short: "r", least: 1, most: 2, step: 0.05, why: "Rarer, what was said before." },
};

export function toLink({ prompt, seed, settings }, picks, defaults) {
  if (picks.length > MOST_PICKS) {
    throw new Error("With the settings as they are now it would be another story: no link can hold this one.");
  }
  const pairs = [["prompt", prompt], ["seed", seed]];
  for (const [name, { short }] of Object.entries(SETTINGS)) {
    if (settings[name] !== defaults[name]) pairs.push([short, settings[name]]);
  }
  if (picks.length) pairs.push(["picks", picks.map((pick) => pick.join(".")).join("_")]);
  return "#" + pairs.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
}

/** What a link says; throws a sentence if it says what cannot be. A pick is a place of the story and
    the token there. */
export function fromLink(hash, defaults, vocabSize) {
  const found = { prompt: null, seed: null, picks: [], settings: { ...defaults } };
  if (hash.length > 12 * LONGEST_PROMPT) throw new Error("This link is too long: nothing of it is used.");
  for (const pair of hash.slice(1).split("&").filter(Boolean)) {
    const [key, text = ""] = pair.split(/=(.*)/s);
    const setting = Object.keys(SETTINGS).find((name) => SETTINGS[name].short === key);
    if (key === "prompt") found.prompt = promptOf(decoded(text));
    else if (key === "seed") found.seed = seedOf(decoded(text));
    else if (key === "picks") found.picks = picksOf(text, vocabSize);
    else if (setting) found.settings[setting] = settingOf(setting, text);
    else throw new Error("This link holds something that no link of this page does: nothing of it is used.");
  }
  return found;
}

export function promptOf(text) {
  if (text.length > LONGEST_PROMPT) {
    throw new Error(`A prompt may have ${LONGEST_PROMPT.toLocaleString("en")} characters at most.`);
  }
  if (/\p{Surrogate}/u.test(text)) throw new Error("The prompt holds half a character: it is no text.");
  return text;
}

export function seedOf(text) {
  const seed = /^\d{1,16}$/.test(text.trim()) ? Number(text) : NaN;
  if (!Number.isSafeInteger(seed)) {
    throw new Error("A seed is a whole number from 0 to 9,007,199,254,740,991.");
  }
  return seed;
}

function picksOf(text, vocabSize) {
  const picks = text.split("_", MOST_PICKS + 1).map((pick) => {
    const [, place, id] = pick.match(/^(\d{1,6})\.(\d{1,5})$/) ?? [];
    return [Number(place), Number(id)];
  });
  if (picks.length > MOST_PICKS || !picks.every(([place, id]) => place > 0 && id >= 2 && id < vocabSize)) {
    throw new Error(`The link's picks are no tokens of this model, or more than ${MOST_PICKS}.`);
  }
  return picks;
}

function settingOf(name, text) {
  const { label, least, most } = SETTINGS[name];
  const value = /^\d{1,4}(\.\d{1,17})?$/.test(text) ? Number(text) : NaN;
  const whole = name !== "topK" || Number.isInteger(value);
  if (!(value >= least && value <= most && whole)) {
    throw new Error(`The link's ${label} must be a number from ${least} to ${most}.`);
  }
  return value;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error("This link is damaged: nothing of it is used.");
  }
}
