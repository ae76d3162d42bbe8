/* The tables of the model; tables.c is written by the export. */

#ifndef BUDDY_TABLES_H
#define BUDDY_TABLES_H

#include <stdint.h>

#include "model.h"

/* All weights, as engine/packed.h lays them out: the embedding; for each layer norm, q with k and
   v, o, norm, gate with up, down; norm; then cosines and sines of the positions. Floats are those
   of IEEE 754, and of bytes in a number the first is the lowest. */
extern const uint32_t buddy_weights[BUDDY_WEIGHT_BYTES / 4];

/* The bytes of all tokens, one behind the other, and where each ends. */
extern const uint8_t buddy_pieces[BUDDY_PIECE_BYTES];
extern const buddy_end buddy_piece_ends[BUDDY_TOKENS];

/* Ids in the order of their bytes: of all tokens for Unigram, of single characters for BPE. */
extern const uint16_t buddy_by_text[BUDDY_SORTED];

#if BUDDY_UNIGRAM
/* Minus the logarithm of each token's probability, in hundredths. */
extern const uint16_t buddy_costs[BUDDY_TOKENS];
#else
/* Pairs of ids that become one, in the order of left and right; a lower rank goes first. */
typedef struct buddy_merge {
    uint16_t left, right, rank, token;
} buddy_merge;
extern const buddy_merge buddy_merges[BUDDY_MERGES];
#endif

#endif
