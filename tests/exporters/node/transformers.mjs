// What transformers.js makes of a directory that lies on disk; nothing is fetched.
//
//     node transformers.mjs FOLDER < {"texts": [...], "prompts": [[prompt, new tokens], ...]}
//
// Writes {"version": ..., "ids": of each text, "decoded": of these, "new": of each prompt, greedily,
// "pipeline": the first prompt continued, "batch": all of them continued side by side}.

import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { AutoModelForCausalLM, AutoTokenizer, env, pipeline } from "@huggingface/transformers";

const folder = process.argv[2];
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);

const name = basename(folder);
const { texts, prompts } = JSON.parse(readFileSync(0, "utf-8"));
const tokenizer = await AutoTokenizer.from_pretrained(name);
const encode = (text) => tokenizer(text, { return_tensor: false }).input_ids.map(Number);
const ids = texts.map(encode);
const result = {
  version: env.version,
  ids,
  decoded: ids.map((text) => tokenizer.decode(text, { skip_special_tokens: true })),
};

if (prompts.length) {
  const model = await AutoModelForCausalLM.from_pretrained(name);
  result.new = [];
  for (const [prompt, count] of prompts) {
    const inputs = tokenizer(prompt);
    const found = await model.generate({ ...inputs, do_sample: false, max_new_tokens: count });
    result.new.push(found.tolist()[0].map(Number).slice(inputs.input_ids.dims[1]));
  }
  const generate = await pipeline("text-generation", name);
  const texts = prompts.map(([prompt]) => prompt);
  result.pipeline = (await generate(texts[0], { do_sample: false }))[0].generated_text;
  const batch = await generate(texts, { do_sample: false, max_new_tokens: 10 });
  result.batch = batch.map(([{ generated_text }]) => generated_text);
}
process.stdout.write(JSON.stringify(result));
