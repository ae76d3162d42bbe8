/* Whether the training text had a word: the page knows hashes of its words. */

export const WORD = /\p{L}+(?:['’]\p{L}+)*/gu;

export function isKnown(word, { known, mask }) {
  const hash = crc32(new TextEncoder().encode(word.toLowerCase().replaceAll("’", "'"))) & mask;
  return Boolean(known[hash >> 3] & (1 << (hash & 7)));
}

function crc32(bytes) {
  let sum = -1;
  for (const byte of bytes) {
    sum ^= byte;
    for (let i = 0; i < 8; i++) sum = (sum >>> 1) ^ (sum & 1 && 0xedb88320);
  }
  return ~sum;
}
