import { Model, Session } from "./model.js";
import { PCG32, draw, probabilities } from "./sampling.js";
import { BUDDY, DIGITS } from "./weights.js";

export { Model, PCG32, Session, draw, probabilities };

/** Opens the model that stands at the end of this module, or the bytes of another .buddy file. */
export function load(bytes = fromText(BUDDY)) {
  return new Model(bytes);
}

/** Bytes of a text: a block has one more digit than bytes, 5 of 85 digits or 7 of 116. */
function fromText(text) {
  const base = DIGITS.length;
  const size = base === 85 ? 4 : 6;
  const bytes = new Uint8Array((text.length / (size + 1)) * size);
  for (let i = 0, end = size; i < text.length; i += size + 1, end += size) {
    let number = 0;
    for (const digit of text.slice(i, i + size + 1)) number = number * base + DIGITS.indexOf(digit);
    for (let at = end; at-- > end - size; number = Math.floor(number / 256)) bytes[at] = number % 256;
  }
  return bytes;
}
