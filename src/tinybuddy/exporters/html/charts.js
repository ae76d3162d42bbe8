/* Drawings of what goes on inside. Elements are made once and changed afterwards. */

const percent = (p) => (p > 0 && p < 0.001 ? "<0.1%" : `${(100 * p).toFixed(1)}%`);

/** Makes or drops children of an element until it has `count`; returns them. */
export function children(element, count, make) {
  while (element.childElementCount > count) element.lastElementChild.remove();
  while (element.childElementCount < count) element.append(make(element.childElementCount));
  return [...element.children];
}

export function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...inside);
  return element;
}

/** Sets a text only where it is another, as that costs a layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The next token: a row that is a button for each. */
export function drawBars(list, { rows, possible }) {
  const items = children(list, rows.length, () =>
    make("li", "", make("button", "",
      make("span", "name"), make("span", "rail", make("i")), make("span", "number"),
      make("span", "number logit"))));
  rows.forEach(({ id, name, logit, plain, drawn }, i) => {
    const button = items[i].firstChild;
    const [label, rail, number, score] = button.children;
    button.type = "button";
    button.dataset.id = id;
    button.className = drawn > 0 ? "" : "none";
    rail.style.setProperty("--drawn", drawn);
    rail.style.setProperty("--plain", plain);
    write(label, name);
    write(number, percent(drawn));
    write(score, logit.toFixed(1));
  });
  const count = possible.toLocaleString("en");
  return possible === 1 ? "Only one token can come next." : `${count} tokens can come next; these are the likeliest.`;
}

/** A button for each head of each layer, with a picture of where it looks. */
export function drawHeads(element, { attention, start }, tokens, chosen, colour) {
  const heads = attention[0].length;
  element.style.setProperty("--heads", heads);
  children(element, attention.length * (heads + 1), (n) => {
    if (n % (heads + 1) === 0) return make("p", "", `Layer ${n / (heads + 1) + 1}`);
    const button = make("button", "", document.createElement("canvas"), make("span"));
    button.type = "button";
    button.dataset.head = n - Math.floor(n / (heads + 1)) - 1;
    return button;
  }).forEach((button, n) => {
    if (n % (heads + 1) === 0) return;
    const [layer, head] = [Math.floor(n / (heads + 1)), (n % (heads + 1)) - 1];
    const weights = attention[layer][head];
    const most = weights.indexOf(Math.max(...weights));
    const text = `${tokens[start + most].name} ${Math.round(100 * weights[most])}%`;
    button.setAttribute("aria-pressed", String(Number(button.dataset.head) === chosen));
    button.setAttribute("aria-label", `${text}, layer ${layer + 1}, head ${head + 1}`);
    write(button.lastChild, text);
    drawColumns(button.firstChild, weights, colour);
  });
}

function drawColumns(canvas, weights, colour) {
  const [width, height] = [256, 36];
  if (canvas.width !== width) [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = colour;
  const step = width / Math.max(24, weights.length);
  const most = Math.max(...weights);
  weights.forEach((weight, i) => {
    const size = Math.max(1, (weight / most) * height);
    pen.fillRect(i * step, height - size, Math.max(1, step - 1), size);
  });
}

/** The residual stream: its numbers as a strip, and what it would say, layer by layer. */
export function drawLadder(list, streams, glow) {
  children(list, streams.length, (n) => {
    const label = n ? `after layer ${n}` : "embedding";
    return make("li", "", make("span", "small", label), document.createElement("canvas"),
      make("p", "says", make("b"), make("span"), make("span"), make("span")));
  }).forEach((item, n) => {
    const [, canvas, says] = item.children;
    const { stream, says: said } = streams[n];
    drawStrip(canvas, stream, glow);
    write(says.children[0], said[0].name);
    write(says.children[1], percent(said[0].p));
    said.slice(1).forEach(({ name, p }, i) => write(says.children[2 + i], `${name} ${percent(p)}`));
  });
}

function drawStrip(canvas, numbers, [red, green, blue]) {
  if (canvas.width !== numbers.length) [canvas.width, canvas.height] = [numbers.length, 1];
  const most = numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  const image = new ImageData(numbers.length, 1);
  numbers.forEach((x, i) => {
    const colour = x > 0 ? [red, green, blue] : [96, 125, 150];
    image.data.set([...colour, 255 * Math.sqrt(Math.abs(x) / most)], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
