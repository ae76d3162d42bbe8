/* What Node.js runs to check an export: it reads a JSON object, and prints what the module does. */
import { readFileSync } from "node:fs";

const { module, prompts, tokens, stories } = JSON.parse(readFileSync(0, "utf8"));
const { load } = await import(module);
const model = load();
const onNote = () => {};

function golden(prompt) {
  const session = model.session(prompt);
  const [ids, added] = [[...session.ids], []];
  while (added.length < tokens) {
    const id = session.probabilities({ temperature: 0 }).indexOf(1);
    added.push(id);
    if (id === model.tokenizer.eos) break;
    session.step(id);
  }
  return { ids, new: added };
}

console.log(
  JSON.stringify({
    golden: prompts.map(golden),
    stories: stories.map(([prompt, settings]) => model.generate(prompt, { ...settings, onNote })),
  }),
);
