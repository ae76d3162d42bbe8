/* Encoding with a Unigram model (Kudo 2018, arXiv 1804.10959): of all ways to write the text in
   tokens, the one with the largest product of their probabilities, found by Viterbi's algorithm.

   A place lies between two known characters of the text; unknown ones are as if they were not
   there. Scores are summed up as doubles in the order that tinybuddy's other programs do it in, so
   that rounding decides between equals as it does there. */

#include <math.h>
#include <string.h>

#include "tables.h"
#include "tinybuddy.h"
#include "tokens.h"
#include "utf8.h"

enum { PLACES = BUDDY_LONGEST_TOKEN + 1 }; /* that are under way at a time */

/* Where the text goes on behind its next known character, which is kept; NULL at the end. */
static const uint8_t *next_known(const uint8_t *at, const uint8_t *end, utf8 *character) {
    while (at < end) {
        *character = utf8_next(at, (size_t)(end - at));
        at += character->taken;
        if (token_of(character->text, character->size) >= 0) return at;
    }
    return NULL;
}

static int32_t characters_of(int32_t id) {
    size_t length;
    const char *piece = buddy_piece(id, &length);
    int32_t count = 0;
    for (size_t i = 0; i < length; i++) count += (piece[i] & 0xc0) != 0x80;
    return count;
}

int32_t buddy_encode(const char *text, size_t length, uint16_t *ids, size_t room) {
    const uint8_t *at = (const uint8_t *)text, *end = at + length;
    double best[PLACES]; /* score of the best way to a place */
    int32_t place = 0;
    utf8 c;
    best[0] = 0.0;
    for (int32_t i = 1; i < PLACES; i++) best[i] = -HUGE_VAL;
    for (const uint8_t *second; (second = next_known(at, end, &c)) != NULL; at = second, place++) {
        const double score = best[place % PLACES];
        const uint8_t *behind = second;
        range r = range_of_all();
        if ((size_t)place >= room) return BUDDY_TOO_LONG;
        best[place % PLACES] = -HUGE_VAL; /* from here on the place of the farthest token's end */
        for (int32_t n = 1; n <= BUDDY_LONGEST_TOKEN && behind; n++) {
            for (size_t i = 0; i < c.size; i++) range_narrow(&r, c.text[i]);
            if (r.low == r.high) break;
            const int32_t id = range_token(&r);
            if (id >= 0 && (size_t)(place + n) <= room) {
                double *there = &best[(place + n) % PLACES];
                const double found = score - buddy_costs[id] / 100.0;
                if (found > *there) {
                    *there = found;
                    ids[place + n - 1] = (uint16_t)id; /* the last token on the best way there */
                }
            }
            behind = next_known(behind, end, &c);
        }
    }
    /* Back from the end, each place tells where its last token began. */
    int32_t first = place;
    for (int32_t p = place; p > 0;) {
        const uint16_t id = ids[p - 1];
        ids[--first] = id;
        p -= characters_of(id);
    }
    memmove(ids, ids + first, (size_t)(place - first) * sizeof *ids);
    return place - first;
}
