/* The page: what is typed and pressed goes to the worker, and what it answers is drawn. */
import { children, drawBars, drawHeads, drawLadder, make, write } from "./charts.js";
import { SETTINGS, fromLink, promptOf, seedOf, toLink } from "./link.js";
import { Story } from "./story.js";
import { Picture } from "./weights.js";
import { WORD, isKnown } from "./words.js";

const PROMPT = "Once upon a time";
const MOST_TOKENS = 512; // at a press of a button, as on the command line
const RATES = [2, 5, 12, 40, 150, Infinity]; // tokens a second
const AT_ONCE = 64; // tokens, where there is no other limit
const REST = 90; // milliseconds at least between two drawings
const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

// A page from file:// may start no worker that is a module.
const ask = askWorker(`"use strict";\n${at.engine.textContent}${at.worker.textContent}`);
const story = new Story(at.story);
const state = {
  defaults: null, // settings of the model's own
  settings: null,
  prompt: PROMPT,
  seed: 0,
  picks: [], // that came with the link: place and id
  playing: false,
  ended: false,
  turn: 0, // of stories
  head: null, // that is looked at; null for all
  chosen: null, // place that is looked at; null for the last
  drawn: null, // what was drawn of it
  picture: null, // of all weights
};

start().catch((error) => say(error.message));

async function start() {
  const packed = { packedWords: at.words.textContent, wordBytes: Number(at.words.dataset.bytes) };
  const { config, sampleConfig, words } = await ask("open", packed);
  story.words = words;
  state.defaults = state.settings = sampleConfig;
  state.config = config;
  makeSettings();
  showSettings();
  const followed = follow(location.hash); // first
  state.picture = new Picture(at.weights, await ask("weights", {}), config.hiddenSize);
  refresh();
  await followed;
}

/** Does what a link says, or nothing but say what is wrong with it. */
async function follow(hash) {
  halt();
  let found;
  try {
    found = fromLink(hash, state.defaults, state.config.vocabSize);
  } catch (error) {
    say(error.message);
    if (!story.tokens.length) await begin(PROMPT, 0, [], false);
    return;
  }
  state.settings = found.settings;
  showSettings();
  await begin(found.prompt ?? PROMPT, found.seed ?? 0, found.picks);
}

/** Begins a story, and tells it. */
async function begin(prompt, seed, picks = [], told = true) {
  halt();
  const turn = ++state.turn;
  const { tokens, unknown } = await ask("begin", { prompt, seed, picks });
  if (turn !== state.turn) return;
  Object.assign(state, { prompt, seed, picks, ended: false, chosen: null });
  at.prompt.value = prompt;
  at.seed.value = seed;
  showTyped();
  story.clear();
  story.add(tokens, true);
  story.spans[0].hidden = true; // <bos>
  if (told) say(unknown ? `The model does not know ${unknown}, and skips it.` : "");
  refresh();
  if (told) await play();
}

async function play() {
  if (state.ended) return begin(state.prompt, state.seed, state.picks);
  state.playing = true;
  showPlaying();
  const turn = state.turn;
  const on = () => state.playing && turn === state.turn;
  let since = performance.now();
  for (let left = MOST_TOKENS; left > 0 && on(); ) {
    const pace = 1000 / (still ? Infinity : RATES[at.speed.value]); // milliseconds a token
    const late = performance.now() - since; // as many at once as a slow machine is behind
    const due = late >= AT_ONCE * pace ? AT_ONCE : Math.max(1, Math.floor(late / pace));
    const count = Math.min(left, due);
    since = performance.now();
    if (!(await step("draw", { count, settings: state.settings }))) break;
    left -= count;
    await pause(pace - (performance.now() - since));
  }
  if (on()) {
    halt();
    if (!state.ended) say(`It went on for ${MOST_TOKENS} tokens. Play goes on.`);
  }
}

/** Adds tokens; returns whether the story goes on. */
async function step(action, asked) {
  const turn = state.turn;
  const { tokens, ended } = await ask(action, asked);
  if (turn !== state.turn) return false;
  story.add(tokens);
  state.chosen = null;
  if (ended) end("The end.");
  refresh();
  return !ended;
}

function end(text) {
  state.ended = true;
  halt();
  story.mark(true);
  at.said.textContent = story.text; // for a screen reader, at once
  say(text);
}

function halt() {
  state.playing = false;
  showPlaying();
}

async function forward() {
  halt();
  if (!state.ended) await step("draw", { count: 1, settings: state.settings });
}

async function back() {
  halt();
  if (story.tokens.length < 2) return;
  const turn = state.turn;
  if (state.ended) {
    state.ended = false;
    showPlaying();
    say("");
  }
  await ask("back", {});
  if (turn !== state.turn) return;
  story.back();
  state.chosen = null;
  refresh();
}

async function pick(id) {
  halt();
  if (state.ended) return;
  if (id === 2) { // <eos>
    end("The end, as you chose.");
    return;
  }
  await step("pick", { id });
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/* What is drawn */

let asked = false; // something changed since the last drawing
let busy = false;

/** Draws what is inside, soon; however fast the story goes, a few times a second. */
async function refresh() {
  asked = true;
  if (busy) return;
  busy = true;
  while (asked) {
    asked = false;
    await draw();
    await pause(REST);
  }
  busy = false;
}

async function draw() {
  const { turn } = state;
  const last = story.tokens.length - 1;
  const index = Math.min(state.chosen ?? last, last);
  try {
    const [next, seen] = await Promise.all([
      ask("next", { settings: state.settings }),
      ask("look", { index }),
    ]);
    if (turn !== state.turn || index >= story.tokens.length) return;
    state.drawn = seen;
    write(at.possible, drawBars(at.bars, next));
    drawInside();
    state.picture?.light(seen.used, glow(), matchMedia("(prefers-color-scheme: dark)").matches);
  } catch (error) {
    if (turn === state.turn) say(error.message);
  }
}

function drawInside() {
  const seen = state.drawn;
  const { index, start } = seen;
  const { tokens } = story;
  drawHeads(at.heads, seen, tokens, state.head, `rgb(${glow()})`);
  drawLadder(at.ladder, seen.streams, glow());
  const name = tokens[index].name;
  const heads = seen.attention.flat();
  const weights = state.head === null
    ? heads[0].map((_, i) => heads.reduce((sum, head) => sum + head[i], 0) / heads.length)
    : heads[state.head];
  children(at.window, tokens.length - start, () => make("span")).forEach((span, i) => {
    const token = tokens[start + i];
    write(span, start + i === 0 ? "▸" : token.text || token.name);
    span.style.setProperty("--look", Math.sqrt(weights[i] ?? 0).toFixed(2));
    span.dataset.index = start + i;
    if (start + i === index) span.setAttribute("aria-current", "true");
    else span.removeAttribute("aria-current");
  });
  const which = state.head === null ? "All heads together" : headName(state.head, seen.attention[0].length);
  const most = weights.indexOf(Math.max(...weights));
  write(at.looked, `${which}, at “${name}”: most at “${tokens[start + most].name}”, ${Math.round(100 * weights[most])}%.` +
    (start ? ` Of what stands before these ${tokens.length - start} tokens the model sees nothing.` : ""));
  if (state.chosen !== null) write(at.said, at.looked.textContent);
  write(at.about, `The token “${name}”, number ${index} of the story.`);
  write(at.now, `“${name}”`);
  reveal(at.window, at.window.children[index - start]);
  lookInStory(weights, start);
}

/** The tokens of what is typed: if there are many, the last ones. */
async function showTyped() {
  const prompt = at.prompt.value;
  const { count, names, unknown } = await ask("tokens", { prompt: promptOf(prompt) });
  if (prompt !== at.prompt.value) return;
  const chips = children(at.typed, names.length, () => make("span"));
  names.forEach((name, i) => write(chips[i], name));
  const strange = story.words ? [...prompt.matchAll(WORD)].map(([word]) => word).filter((word) => !isKnown(word, story.words)) : [];
  const parts = [count ? `${count.toLocaleString("en")} ${count === 1 ? "token" : "tokens"}.` : "No token: it begins as it likes."];
  if (unknown) parts.push(`The model does not know ${unknown}.`);
  if (strange.length) parts.push(`Its training text never had “${strange[0]}”.`);
  write(at.count, parts.join(" "));
}

/** The accent colour, as it is now: red, green, blue. */
function glow() {
  return getComputedStyle(document.documentElement).getPropertyValue("--glow").split(",").map(Number);
}

/** Scrolls a box, and nothing else, to a child that is out of sight. */
function reveal(box, child) {
  const [outer, inner] = [box.getBoundingClientRect(), child.getBoundingClientRect()];
  const seen = inner.top >= outer.top && inner.bottom <= outer.bottom;
  if (seen || !inner.height) return; // <bos> is not shown
  box.scrollTop += inner.top - outer.top - box.clientHeight / 2;
}

function headName(head, heads) {
  return `Layer ${Math.floor(head / heads) + 1}, head ${(head % heads) + 1}`;
}

let lit = [];

/** Shades the tokens of the story that a chosen one looks back at. */
function lookInStory(weights, start) {
  for (const span of lit) {
    span.style.removeProperty("--look");
    span.classList.remove("here");
  }
  lit = [];
  if (state.chosen === null) {
    write(at.caption, "");
    return;
  }
  weights.forEach((weight, i) => {
    const span = story.spans[start + i];
    const here = start + i === state.chosen;
    if (!span || (weight < 0.01 && !here)) return;
    span.classList.toggle("here", here);
    span.style.setProperty("--look", Math.sqrt(weight).toFixed(2));
    lit.push(span);
  });
  write(at.caption, `“${story.tokens[state.chosen].name}” looks back at what is shaded.`);
}

function choose(index) {
  if (!(index >= (state.drawn?.start ?? 0) && index < story.tokens.length)) {
    if (index >= 0) write(at.caption, "The model no longer sees so far back.");
    return;
  }
  if (index === state.chosen) return;
  state.chosen = index;
  refresh();
}

/* Settings and words */

function makeSettings() {
  for (const [name, { label, least, most, step: by, why }] of Object.entries(SETTINGS)) {
    const input = make("input");
    Object.assign(input, { type: "range", min: least, max: most, step: by, id: name });
    input.addEventListener("input", () => {
      state.settings = { ...state.settings, [name]: Number(input.value) };
      showSettings();
      refresh();
    });
    const row = make("label", "", make("span", "", label), input, make("output"));
    row.title = why;
    at.settings.append(row);
  }
}

function showSettings() {
  for (const row of at.settings.children) {
    const value = state.settings[row.children[1].id];
    row.children[1].value = value;
    const off = value === { topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 }[row.children[1].id];
    row.children[2].textContent = off ? "off" : String(Number(value.toFixed(4)));
  }
}

function showPlaying() {
  at.play.classList.toggle("playing", state.playing);
  write(at.playName, state.playing ? "Pause" : state.ended ? "Again" : "Play");
}

function say(text) {
  write(at.status, text);
}

/* What is pressed */

/** Calls something, and says what was wrong with it. */
function on(element, kind, act) {
  element.addEventListener(kind, async (event) => {
    try {
      await act(event);
    } catch (error) {
      say(error.message);
    }
  });
}

on(at.form, "submit", (event) => {
  event.preventDefault();
  return begin(promptOf(at.prompt.value), seedOf(at.seed.value));
});
on(at.another, "click", () => begin(promptOf(at.prompt.value), crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000));
on(at.seed, "change", () => begin(promptOf(at.prompt.value), seedOf(at.seed.value)));
on(at.play, "click", () => (state.playing ? halt() : play()));
on(at.forward, "click", forward);
on(at.back, "click", back);
on(at.bars, "click", (event) => {
  const button = event.target.closest("button");
  if (button) return pick(Number(button.dataset.id));
});
on(at.edges, "change", () => at.story.classList.toggle("edges", at.edges.checked));
on(at.reset, "click", () => {
  state.settings = state.defaults;
  showSettings();
  refresh();
});
on(at.prompt, "input", showTyped);
on(at.share, "click", async () => {
  halt();
  const picks = await ask("picks", { settings: state.settings, end: state.ended });
  history.replaceState(null, "", toLink(state, picks, state.defaults));
  await navigator.clipboard.writeText(location.href).then(
    () => say("The link is copied."),
    () => say("The link is in the address bar."),
  );
});
on(matchMedia("(prefers-color-scheme: dark)"), "change", refresh);
on(window, "hashchange", () => follow(location.hash));
on(at.heads, "click", (event) => {
  const head = Number(event.target.closest("button")?.dataset.head ?? NaN);
  if (Number.isNaN(head)) return;
  state.head = state.head === head ? null : head;
  drawInside();
});
for (const text of [at.story, at.window]) {
  on(text, "pointermove", (event) => {
    if (!state.playing && event.target.dataset.index) choose(Number(event.target.dataset.index));
  });
  on(text, "click", (event) => event.target.dataset.index && choose(Number(event.target.dataset.index)));
  on(text, "keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    choose((state.chosen ?? story.tokens.length - 1) + way);
    reveal(at.story, story.spans[state.chosen ?? 0]);
  });
}
document.querySelector("[data-skip]").addEventListener("click", (event) => {
  event.preventDefault();
  at.story.focus();
});

/** Starts the worker; returns a function that asks it something. */
function askWorker(code) {
  const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const waiting = new Map();
  let number = 0;
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.number);
    waiting.delete(data.number);
    if (data.error === undefined) resolve(data.result);
    else reject(new Error(data.error));
  };
  worker.onerror = (event) => say(`The model does not run here: ${event.message}`);
  return (action, asked) => new Promise((resolve, reject) => {
    waiting.set(++number, { resolve, reject });
    worker.postMessage({ number, action, asked });
  });
}
