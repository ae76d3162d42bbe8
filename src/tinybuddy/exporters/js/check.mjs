/* What a module is asked when it is checked: golden texts, and stories with some settings. */

export function answer(model, { prompts, tokens, stories }) {
  const onNote = () => {};
  return {
    golden: prompts.map((prompt) => golden(model, prompt, tokens)),
    stories: stories.map(([prompt, settings]) => model.generate(prompt, { ...settings, onNote })),
  };
}

function golden(model, prompt, tokens) {
  const session = model.session(prompt);
  const ids = [...session.ids];
  const added = [];
  while (added.length < tokens) {
    const id = session.probabilities({ temperature: 0 }).indexOf(1);
    added.push(id);
    if (id === model.tokenizer.eos) break;
    session.step(id);
  }
  return { ids, new: added };
}
