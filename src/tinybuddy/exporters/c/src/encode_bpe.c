/* Encoding with BPE: the text is cut into words as GPT-2 does, by

       's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

   and in each the pair that was merged first in training is merged, as long as there is one. */

#include <string.h>

#include "tables.h"
#include "tinybuddy.h"
#include "tokens.h"
#include "unicode.h"
#include "utf8.h"

typedef enum kind { OTHER, LETTER, NUMBER, SPACE } kind;

/* unicode_runs holds the lengths of runs of characters of one kind, from U+0000 on: 7 bits of a
   number a byte, the lowest first, the last byte below 128; the lowest two bits are the kind. */
static kind kind_of(uint32_t code) {
    uint32_t end = 0;
    for (size_t i = 0; i < sizeof unicode_runs;) {
        uint32_t run = 0;
        int shift = 0;
        do {
            run |= (uint32_t)(unicode_runs[i] & 0x7f) << shift;
            shift += 7;
        } while (unicode_runs[i++] & 0x80);
        end += run >> 2;
        if (code < end) return (kind)(run & 3);
    }
    return OTHER;
}

/* The kind of the character at `at`, whose bytes join *size. */
static kind kind_at(const uint8_t *at, const uint8_t *end, size_t *size) {
    const utf8 c = utf8_next(at, (size_t)(end - at));
    *size = c.taken;
    return kind_of(utf8_code_point(c));
}

/* Where characters of a kind end; *last becomes the place of the last of them. */
static const uint8_t *run_end(const uint8_t *at, const uint8_t *end, kind wanted,
                              const uint8_t **last) {
    size_t size;
    while (at < end && kind_at(at, end, &size) == wanted) {
        *last = at;
        at += size;
    }
    return at;
}

/* Where the word that begins at `at` ends. */
static const uint8_t *word_end(const uint8_t *at, const uint8_t *end) {
    static const char *const suffixes[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const size_t size = strlen(suffixes[i]);
        if ((size_t)(end - at) >= size && memcmp(at, suffixes[i], size) == 0) return at + size;
    }
    size_t size;
    const uint8_t *last = at;
    const uint8_t *first = *at == ' ' && end - at > 1 ? at + 1 : at;
    const kind k = kind_at(first, end, &size);
    if (k != SPACE) return run_end(first, end, k, &last);
    const uint8_t *behind = run_end(at, end, SPACE, &last);
    return behind == end || last == at ? behind : last; /* the last space goes with the next word */
}

/* The merge of a pair, or NULL. */
static const buddy_merge *merge_of(uint16_t left, uint16_t right) {
    const uint32_t pair = (uint32_t)left << 16 | right;
    int32_t low = 0, high = BUDDY_MERGES;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        const buddy_merge *m = &buddy_merges[middle];
        const uint32_t found = (uint32_t)m->left << 16 | m->right;
        if (found == pair) return m;
        if (found < pair)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Merges the ids of a word in place; returns how many are left. */
static int32_t merge(uint16_t *ids, int32_t count) {
    for (;;) {
        const buddy_merge *best = NULL;
        int32_t place = 0;
        for (int32_t i = 0; i + 1 < count; i++) {
            const buddy_merge *m = merge_of(ids[i], ids[i + 1]);
            if (m && (!best || m->rank < best->rank)) {
                best = m;
                place = i;
            }
        }
        if (!best) return count;
        ids[place] = best->token;
        memmove(ids + place + 1, ids + place + 2, (size_t)(count - place - 2) * sizeof *ids);
        count--;
    }
}

int32_t buddy_encode(const char *text, size_t length, uint16_t *ids, size_t room) {
    const uint8_t *at = (const uint8_t *)text, *end = at + length;
    int32_t count = 0;
    while (at < end) {
        const uint8_t *stop = word_end(at, end);
        const int32_t first = count;
        while (at < stop) {
            const utf8 c = utf8_next(at, (size_t)(end - at));
            /* Words begin as single bytes, or as single characters, of which some are unknown. */
            const size_t step = BUDDY_BYTES ? 1 : c.size;
            for (size_t i = 0; i < c.size; i += step) {
                const int32_t id = token_of(c.text + i, step);
                if (id < 0) continue;
                if ((size_t)count == room) return BUDDY_TOO_LONG;
                ids[count++] = (uint16_t)id;
            }
            at += c.taken;
        }
        count = first + merge(ids + first, count - first);
    }
    return count;
}
