import { Model, Session } from "./model.js";
import { PCG32, draw, probabilities } from "./sampling.js";
import { BUDDY } from "./weights.js";

export { Model, PCG32, Session, draw, probabilities };

/** Opens the model that this module holds, or the bytes of another .buddy file. */
export function load(bytes = Uint8Array.from(atob(BUDDY), (c) => c.charCodeAt(0))) {
  return new Model(bytes);
}
