import { Model, Session } from "./model.js";
import { PCG32, draw, probabilities } from "./sampling.js";
import { BUDDY, DIGITS } from "./weights.js";

export { Model, PCG32, Session, draw, probabilities };

/** Opens the model that stands at the end of this module, or the bytes of another .buddy file. */
export function load(bytes = fromText(BUDDY)) {
  return new Model(bytes);
}

/** Bytes of a text in base 85: five characters for four bytes. */
function fromText(text) {
  const view = new DataView(new ArrayBuffer((text.length / 5) * 4));
  for (let i = 0; i < text.length; i += 5) {
    let number = 0;
    for (const digit of text.slice(i, i + 5)) number = number * 85 + DIGITS.indexOf(digit);
    view.setUint32((i / 5) * 4, number);
  }
  return new Uint8Array(view.buffer);
}
