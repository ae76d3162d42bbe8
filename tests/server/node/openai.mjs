// Asks a server by both endpoints, whole and as streams; prints the texts as JSON.
import OpenAI from "openai";

const [baseURL, model, prompt] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const asked = { model, seed: 6, temperature: 0.5, max_tokens: 512 };
const messages = [{ role: "user", content: prompt }];

const completion = await client.completions.create({ ...asked, prompt });
const chat = await client.chat.completions.create({ ...asked, messages });
let parts = "";
for await (const part of await client.completions.create({ ...asked, prompt, stream: true }))
  parts += part.choices[0].text;
let chatParts = "";
for await (const part of await client.chat.completions.create({ ...asked, messages, stream: true }))
  chatParts += part.choices[0].delta.content ?? "";

let code;
try {
  await client.completions.create({ model: "gpt-4", prompt });
} catch (error) {
  code = error instanceof OpenAI.NotFoundError ? error.code : error;
}
const models = [];
for await (const found of client.models.list()) models.push(found.id);
console.log(
  JSON.stringify({
    texts: [completion.choices[0].text, chat.choices[0].message.content, parts, chatParts],
    code,
    models,
  }),
);
