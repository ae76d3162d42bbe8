/* The vocabulary in the order of its bytes. */

#ifndef BUDDY_TOKENS_H
#define BUDDY_TOKENS_H

#include <stddef.h>
#include <stdint.h>

/* The tokens of buddy_by_text, low up to high, that begin with the bytes read so far. */
typedef struct range {
    int32_t low, high;
    size_t depth; /* bytes read */
} range;

range range_of_all(void);

/* Reads another byte; none are left where low is high. */
void range_narrow(range *r, uint8_t byte);

/* The token that is the bytes read, or -1. */
int32_t range_token(const range *r);

/* The token that is these bytes alone, or -1. */
int32_t token_of(const uint8_t *bytes, size_t size);

#endif
