// Stories of an exported module from nothing: node stories.mjs MODULE SEED SECONDS
// Prints how many tokens a second of the processor; a token is a piece of a stream, as every one ends
// a character.

const [address, seed, seconds] = process.argv.slice(2);
const { load } = await import(address);
const model = load();
const settings = (add) => ({ seed: Number(seed) + add, maxNewTokens: model.config.maxPositionEmbeddings - 1 });

for (let warm = 0; warm < 20; warm++) model.generate("", settings(warm));
let tokens = 0;
let spent = 0;
const now = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
for (let told = 0; spent < Number(seconds); told++) {
  const began = now();
  model.generate("", settings(told));
  spent += now() - began;
  for await (const piece of model.stream("", settings(told))) tokens++;
}
console.log(tokens / spent);
