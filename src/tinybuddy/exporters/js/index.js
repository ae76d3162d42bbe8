import { fromText } from "./file.js";
import { Model } from "./model.js";
import { PCG32, draw, probabilities } from "./sampling.js";
import { Session } from "./session.js";
import { BUDDY } from "./weights.js";

export { Model, PCG32, Session, draw, probabilities };

/** Opens the model that stands at the end of this module, or the bytes of another .buddy file. */
export function load(bytes = fromText(BUDDY)) {
  return new Model(bytes);
}
