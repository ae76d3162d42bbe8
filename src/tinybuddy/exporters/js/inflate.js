/* Deflate (RFC 1951), read: browsers have it too, but do not let a function wait for it. */

/** Unpacks `size` bytes. */
export function inflate(packed, size) {
  const out = new Uint8Array(size);
  let length = 0; // bytes written
  let position = 0; // bits read

  function bits(count) {
    let value = 0;
    for (let i = 0; i < count; i++, position++) {
      value |= ((packed[position >> 3] >> (position & 7)) & 1) << i;
    }
    if (position > 8 * packed.length || length > size) throw new Error("The file is damaged.");
    return value;
  }

  /** Reads a symbol of Huffman's code. Codes of a length are consecutive numbers. */
  function symbol({ counts, symbols }) {
    let code = 0, first = 0, index = 0;
    for (let n = 1; n < counts.length; n++) {
      code += bits(1);
      if (code < first + counts[n]) return symbols[index + code - first];
      index += counts[n];
      first = (first + counts[n]) * 2;
      code *= 2;
    }
    throw new Error("The file is damaged.");
  }

  function copy(codes, distances) {
    for (let s; (s = symbol(codes)) !== 256; ) {
      if (s < 256) {
        out[length++] = s;
        continue;
      }
      // A stretch of what was before. Lengths and distances have a base and some bits more.
      const n = s - 257;
      const step = n < 8 || n === 28 ? 0 : (n >> 2) - 1;
      const size = n === 28 ? 258 : n < 8 ? n + 3 : ((4 + (n & 3)) << step) + 3 + bits(step);
      const d = symbol(distances);
      const more = d < 4 ? 0 : (d >> 1) - 1;
      const back = (d < 4 ? d : (2 + (d & 1)) << more) + 1 + bits(more);
      for (let i = 0; i < size; i++, length++) out[length] = out[length - back];
    }
  }

  for (let last = 0; !last; ) {
    last = bits(1);
    const type = bits(2);
    if (type === 0) { // stored as it is
      position = (position + 7) & ~7;
      const count = bits(16);
      bits(16);
      for (let i = 0; i < count; i++) out[length++] = bits(8);
    } else if (type === 1) { // codes that are always the same
      const lengths = Array.from({ length: 288 }, (_, s) => (s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8));
      copy(huffman(lengths), huffman(Array(30).fill(5)));
    } else {
      const [literals, distances, count] = [bits(5) + 257, bits(5) + 1, bits(4) + 4];
      const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
      const own = Array(19).fill(0); // lengths of codes are in a code of their own
      for (let i = 0; i < count; i++) own[order[i]] = bits(3);
      const code = huffman(own);
      const lengths = [];
      while (lengths.length < literals + distances) {
        const s = symbol(code);
        if (s < 16) lengths.push(s);
        else if (s === 16) lengths.push(...Array(3 + bits(2)).fill(lengths.at(-1)));
        else lengths.push(...Array(s === 17 ? 3 + bits(3) : 11 + bits(7)).fill(0));
      }
      copy(huffman(lengths.slice(0, literals)), huffman(lengths.slice(literals)));
    }
  }
  if (length !== size) throw new Error("The file is damaged.");
  return out;
}

/** How many codes each length has, and the symbols in the order of their codes. */
function huffman(lengths) {
  const counts = Array(16).fill(0);
  for (const n of lengths) if (n) counts[n]++;
  const symbols = [...lengths.keys()].filter((s) => lengths[s]);
  symbols.sort((a, b) => lengths[a] - lengths[b]);
  return { counts, symbols };
}
