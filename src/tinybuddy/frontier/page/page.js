/* The page of a study: what its file holds is drawn twice, and told of the point that is chosen. */
import { chart } from "./chart.js";

const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((found) => [found.id, found]));
const found = JSON.parse(at.data.textContent);
const BITS = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 8];
const TYPES = { float32: "float32", int8: "int8", int4: "4 bits" };
const LEFT = [[-1, 0], [-1, 1], [-1, -1]]; // of a point
const ABOVE = [[0, -1], [1, -1], [-1, 1], [1, 0], [-1, 0]];
const VERDICTS = new Map([[true, "YES"], [false, "NO"], [null, ""]]);

const number = (n) => n.toLocaleString("en");
const bits = (value) => value.toFixed(3);
const ticks = (steps, named) =>
  [2, 3, 4, 5, 6, 7, 8].flatMap((power) => steps.map((step) => step * 10 ** power)).map((n) => [n, named(n)]);

function short(n, units) {
  const [size, unit] = units.find(([least]) => n >= least) ?? [1, units.at(-1)[2] ?? ""];
  return `${n / size}${unit}`;
}
const count = (n) => short(n, [[1e6, "M"], [1e3, "k"]]);
const size = (n) => short(n, [[1e6, " MB"], [1e3, " KB", " B"]]);

function bySize() {
  const points = found.points.filter((point) => !point.name.endsWith("-int4")).map((point) => ({
    x: point.parameters, y: point.bits, low: point.kind === "trial" ? 0 : point.low, high: point.kind === "trial" ? 0 : point.high,
    look: look(point), said: said(point), point,
  }));
  const named = points.filter(({ point }) => point.name).map(({ x, y, point }) => ({ at: [[x, y]], look: "said", text: point.name }));
  const budgets = points.filter(({ point }) => point.kind === "final").map(({ x, y }) => ({ at: [[x, y]], look: "hot", text: y.toFixed(2), sides: LEFT }));
  const grams = found.baselines.map(([bytes, y]) => [bytes / 4, y]);
  return {
    points,
    lines: [
      { look: "grams", points: grams },
      { look: "law", points: found.law },
      { look: "line", points: found.line, steps: true },
    ],
    labels: [...budgets, ...named, ...end("n-grams in as many bytes", grams)],
    xTicks: ticks([1, 2.5, 5], count), yTicks: BITS.map((value) => [value, `${value}`]),
    gap: found.boundary[1] ? found.boundary : null,
  };
}

function byBytes() {
  const points = found.points.flatMap((point) => Object.entries(point.stored).map(([type, [bytes, y]]) => ({
    x: bytes, y, look: point.kind === "final" ? "final yes" : look(point), said: `${title(point)}, ${TYPES[type]}: ${number(bytes)} bytes, ${bits(y)} bits per byte`, point, type,
  })));
  const own = Object.keys(TYPES).map((type) => points.filter((each) => each.type === type && each.point.kind === "final"));
  const lines = own.map((each) => ({ look: "kind", points: each.map(({ x, y }) => [x, y]) }));
  const kinds = own.filter((each) => each.length).map(([{ x, y, type }]) => ({ at: [[x, y]], look: "hot", text: TYPES[type], sides: ABOVE }));
  const named = points.filter(({ point }) => point.name).map(({ x, y, point }) => ({ at: [[x, y]], look: "said", text: point.name }));
  return {
    points,
    lines: [{ look: "grams", points: found.baselines }, ...lines],
    labels: [...kinds, ...named, ...end("n-grams", found.baselines)],
    xTicks: ticks([1, 3], size), yTicks: BITS.map((value) => [value, `${value}`]),
    gap: null,
  };
}

const look = ({ kind, speaks }) => (speaks ? `${kind} yes` : kind);
const title = (point) => point.name || `${number(point.parameters)} parameters`;
const end = (text, points) => (points.length ? [{ at: [...points].reverse(), look: "", text, sides: ABOVE }] : []);

function said(point) {
  const verdict = VERDICTS.get(point.speaks);
  return [title(point), point.shape, `${bits(point.bits)} bits per byte`, verdict && `speaks English: ${verdict}`]
    .filter(Boolean).join(", ");
}

/** Tells of a point: each line only where something is known. */
function tell(host, { point, type, x, y }) {
  const spread = point.high > point.low ? ` (${bits(point.low)} to ${bits(point.high)})` : "";
  const judged = !type || type === "float32" || point.kind === "reference"; // rounded weights took no scorecard
  const facts = {
    "": point.name ? `${number(point.parameters)} parameters` : "",
    shape: point.shape,
    trained: point.kind === "reference" ? "" : point.note,
    claim: point.kind === "reference" ? point.note : "",
    stored: type ? `${number(x)} bytes, ${TYPES[type]}` : "",
    "speaks English": judged ? VERDICTS.get(point.speaks) : "",
    fails: judged ? point.fails.join(", ") : "",
  };
  const list = document.createElement("dl");
  for (const [name, value] of Object.entries(facts)) if (value) list.append(made("dt", name || "size"), made("dd", value));
  const value = type ? `${bits(y)} bits per byte` : `${bits(point.bits)} bits per byte${spread}`;
  host.replaceChildren(made("h3", title(point)), made("p", value, "bits"), list);
  if (point.sample) host.append(made("blockquote", point.sample));
}

function made(tag, text, look = "") {
  const element = document.createElement(tag);
  element.className = look;
  element.textContent = text;
  return element;
}

function show(host, details, name, content) {
  const pick = chart(host, name, content, (point) => tell(details, point));
  const finals = content.points.filter(({ point }) => point.kind === "final");
  const first = finals.find(({ point }) => point.speaks) ?? finals.at(-1) ?? content.points[0];
  if (first) pick(content.points.indexOf(first));
  host.closest("section").hidden = !first;
}

show(at.size, at.sizeDetails, "Bits per byte against parameters", bySize());
show(at.bytes, at.bytesDetails, "Bits per byte against bytes stored", byBytes());
at.trials.addEventListener("change", () => at.size.classList.toggle("without", !at.trials.checked));
