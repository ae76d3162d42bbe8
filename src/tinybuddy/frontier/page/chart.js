/* A chart whose axes are logarithmic, drawn anew at every width, and the points that one chooses. */

const SVG = "http://www.w3.org/2000/svg";
const AROUND = [[1, 0], [1, -1], [1, 1], [0, -1], [0, 1], [-1, 0], [-1, -1], [-1, 1]]; // of a point
const REACH = 28; // pixels within which a pointer finds a point

export function element(tag, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

/**
 * Draws into `host` what `content` has, and calls `choose` with the point that is chosen.
 *
 * content: points ({ x, y, look, said, low, high }), lines ({ look, points, steps }), labels
 * ({ at, look, text, sides }: beside the first of these places that has room), xTicks and yTicks ([value, text]), gap ([low, high]) or null.
 */
export function chart(host, name, content, choose) {
  let chosen = -1;
  let circles = [];
  let places = [];
  const order = content.points.map((_, i) => i).sort((a, b) => content.points[a].x - content.points[b].x);

  function draw() {
    const width = Math.max(280, host.clientWidth);
    const height = Math.round(Math.min(600, Math.max(340, width * 0.62)));
    const box = { left: 40, right: width - 14, top: 30, bottom: height - 30 };
    const place = scales(content, box);
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": name });
    const taken = [];
    if (content.gap) drawGap(svg, content.gap, place, box, taken);
    drawAxes(svg, content, place, box);
    for (const { look, points, steps } of content.lines) {
      const spots = points.map(([x, y]) => place(x, y));
      svg.append(element("path", { class: look, d: path(spots, steps) }));
      trace(spots, taken);
    }
    for (const { x, low, high } of content.points.filter((point) => point.high > point.low)) {
      const [[at, top], [, bottom]] = [place(x, high), place(x, low)];
      svg.append(element("line", { class: "spread", x1: at, x2: at, y1: top, y2: bottom }));
    }
    places = content.points.map(({ x, y }) => place(x, y));
    circles = content.points.map(({ look, said }, i) => {
      const [cx, cy] = places[i];
      const small = look === "trial";
      const circle = element("circle", { class: look, cx, cy, r: small ? 3 : 5.5, role: "button", tabindex: -1, "aria-label": said });
      if (!small) taken.push([cx - 7, cy - 7, cx + 7, cy + 7]);
      svg.append(circle);
      return circle;
    });
    if (circles.length) circles[Math.max(0, chosen)].setAttribute("tabindex", 0);
    host.replaceChildren(svg);
    for (const label of content.labels) write(svg, label, place, width, box, taken);
    mark();
  }

  function mark() {
    circles.forEach((circle, i) => {
      circle.classList.toggle("chosen", i === chosen);
      circle.setAttribute("tabindex", i === Math.max(0, chosen) ? 0 : -1);
    });
  }

  function pick(i, focus = false) {
    if (i < 0) return;
    chosen = i;
    mark();
    if (focus) circles[i].focus();
    choose(content.points[i]);
  }

  function nearest(event) {
    const { left, top } = host.firstChild.getBoundingClientRect();
    let [best, least] = [-1, REACH];
    places.forEach(([x, y], i) => {
      if (!visible(i)) return;
      const away = Math.hypot(x - event.clientX + left, y - event.clientY + top);
      if (away < least) [best, least] = [i, away];
    });
    return best;
  }

  const visible = (i) => circles[i].getClientRects().length > 0;
  host.addEventListener("pointermove", (event) => pick(nearest(event)));
  host.addEventListener("pointerdown", (event) => pick(nearest(event)));
  host.addEventListener("focusin", (event) => pick(circles.indexOf(event.target)));
  host.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    let at = order.indexOf(chosen) + step;
    while (order[at] !== undefined && !visible(order[at])) at += step;
    if (order[at] !== undefined) pick(order[at], true);
  });
  let width = 0;
  new ResizeObserver(() => {
    if (host.clientWidth === width) return;
    width = host.clientWidth;
    draw();
  }).observe(host);
  draw();
  return pick;
}

function scales({ points, lines }, { left, right, top, bottom }) {
  const all = [...points.map(({ x, y }) => [x, y]), ...lines.flatMap((line) => line.points)];
  const ends = (i) => {
    const logs = all.map((point) => Math.log(point[i]));
    return [Math.min(...logs), Math.max(...logs)];
  };
  const [[x0, x1], [y0, y1]] = all.length ? [ends(0), ends(1)] : [[0, 1], [0, 1]];
  const part = (value, low, high) => (Math.log(value) - low + 0.04 * (high - low || 1)) / (1.08 * (high - low || 1));
  return (x, y) => [left + part(x, x0, x1) * (right - left - 50), bottom - part(y, y0, y1) * (bottom - top)];
}

function drawAxes(svg, { xTicks, yTicks }, place, { left, right, top, bottom }) {
  let last = -Infinity;
  for (const [value, text] of xTicks) {
    const [x] = place(value, 1);
    if (x < left || x > right || x - last < 44) continue;
    last = x;
    svg.append(element("text", { x, y: bottom + 20, "text-anchor": "middle" }, text));
  }
  last = Infinity;
  for (const [value, text] of yTicks) {
    const [, y] = place(1, value);
    if (y < top || y > bottom || last - y < 22) continue;
    last = y;
    svg.append(
      element("line", { class: "grid", x1: left, x2: right, y1: y, y2: y }),
      element("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, text),
    );
  }
  svg.append(element("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
}

function drawGap(svg, [no, yes], place, { top, bottom, left, right }, taken) {
  const [to] = place(yes, 1);
  const [at] = no ? place(no, 1) : [to - 1];
  svg.append(element("rect", { class: "gap", x: at, y: top - 22, width: Math.max(1, to - at), height: bottom - top + 22 }));
  for (const [x, anchor, text] of [[to + 6, "start", "YES"], [at - 6, "end", no ? "NO" : ""]]) {
    if (x < left || x > right) continue;
    svg.append(element("text", { class: "strong", x, y: top - 10, "text-anchor": anchor }, text));
  }
  taken.push([at - 40, top - 26, to + 40, top - 4]);
}

function path(spots, steps) {
  return spots.map(([x, y], i) => {
    if (!i) return `M${x.toFixed(1)} ${y.toFixed(1)}`;
    return steps ? `H${x.toFixed(1)}V${y.toFixed(1)}` : `L${x.toFixed(1)} ${y.toFixed(1)}`;
  }).join("");
}

/** Notes where a line goes, in spots closer together than a label is high. */
function trace(spots, taken) {
  spots.slice(1).forEach(([x, y], i) => {
    const [fromX, fromY] = spots[i];
    const count = Math.ceil(Math.hypot(x - fromX, y - fromY) / 8) || 1;
    for (let step = 0; step <= count; step += 1) {
      const [atX, atY] = [fromX + ((x - fromX) * step) / count, fromY + ((y - fromY) * step) / count];
      taken.push([atX - 1, atY - 1, atX + 1, atY + 1]);
    }
  });
}

/** Writes a label beside its place where nothing is yet, or not at all. */
function write(svg, { at, look, text, sides = AROUND }, place, width, { left: start, bottom }, taken) {
  const label = element("text", { class: look }, text);
  svg.append(label);
  const long = label.getComputedTextLength();
  for (const [dx, dy, x, y] of at.flatMap((spot) => sides.map((side) => [...side, ...place(...spot)]))) {
    const left = dx > 0 ? x + 10 : dx < 0 ? x - 10 - long : x - long / 2;
    const base = y + 4 + dy * 15;
    const box = [left - 2, base - 13, left + long + 2, base + 4];
    const free = taken.every((other) => box[0] > other[2] || box[2] < other[0] || box[1] > other[3] || box[3] < other[1]);
    if (free && box[0] > start && box[2] < width && box[1] > 0 && box[3] < bottom) {
      label.setAttribute("x", left);
      label.setAttribute("y", base);
      taken.push(box);
      return;
    }
  }
  label.remove();
}
