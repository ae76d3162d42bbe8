/* All weights as a picture, a pixel each. Those of a layer stand in one row, as high as the residual
   stream is wide; the embedding, in bands as long as such a row. */
import { make } from "./charts.js";

const GAP = 3; // pixels between matrices

export class Picture {
  constructor(element, tensors, hidden) {
    this.tensors = tensors;
    const layers = Math.max(...tensors.map((tensor) => tensor.group)) + 1;
    const across = ({ rows, columns, name }) => (name === "down" ? columns : rows);
    const groups = Array.from({ length: layers }, (_, group) => tensors.filter((t) => t.group === group));
    this.width = Math.max(...groups.map((group) => group.reduce((sum, t) => sum + across(t) + GAP, -GAP)));
    const [embedding, norm] = tensors.filter((tensor) => tensor.group < 0);
    const all = embedding.rows + GAP + 1;
    const bands = Math.max(1, Math.round(all / this.width)); // as long as a layer, or nearly
    const wide = Math.ceil(all / bands);
    this.canvases = [];

    const height = bands * (hidden + GAP) - GAP;
    const text = `embedding: a column of ${hidden} for each of ${embedding.rows.toLocaleString("en")} tokens; the last column is the final norm`;
    element.append(make("figure", "", make("figcaption", "", text), this.canvas(wide, height)));
    this.place(embedding, 0, hidden);
    this.place(norm, embedding.rows + GAP, hidden);
    groups.forEach((group, n) => {
      const labels = make("div", "labels");
      const parts = n ? "" : ": attention (query, key, value, output), then feed-forward (gate, up, down)";
      element.append(make("figure", "", make("figcaption", "", `layer ${n + 1}${parts}`), this.canvas(this.width, hidden), labels));
      let left = 0;
      for (const tensor of group) {
        this.place(tensor, left, hidden);
        const wide = across(tensor);
        const label = make("span", "", tensor.name === "norm" ? "" : tensor.name);
        label.style.width = `${(100 * (wide + GAP)) / this.width}%`;
        labels.append(label);
        left += wide + GAP;
      }
    });
  }

  canvas(width, height) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Weights as pixels; those that did the most are lit");
    this.canvases.push({ canvas, image: new ImageData(width, height) });
    return canvas;
  }

  /** Notes of each weight of a tensor which pixel of the last canvas it is. */
  place(tensor, left, hidden) {
    const { rows, columns, name } = tensor;
    tensor.canvas = this.canvases.length - 1;
    const { width } = this.canvases[tensor.canvas].image;
    tensor.places = Uint32Array.from(tensor.pixels, (_, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const [x, y] = name === "down" ? [left + column, row] : [left + row, column];
      return (Math.floor(x / width) * (hidden + GAP) + y) * width + (x % width);
    });
  }

  /** Draws all, and lights what was used: for each weight a share from 0 to 255. */
  light(used, glow, dark) {
    this.tensors.forEach(({ pixels, places, canvas }, t) => {
      const { data } = this.canvases[canvas].image;
      const shares = used[t];
      for (let i = 0; i < pixels.length; i++) {
        const grey = dark ? 24 + 0.4 * pixels[i] : 250 - 0.45 * pixels[i];
        const at = 4 * places[i];
        for (let c = 0; c < 3; c++) data[at + c] = grey + (shares[i] / 255) * (glow[c] - grey);
        data[at + 3] = 255;
      }
    });
    for (const { canvas, image } of this.canvases) canvas.getContext("2d").putImageData(image, 0, 0);
  }
}
