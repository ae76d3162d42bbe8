#include "tokens.h"

#include "tables.h"
#include "tinybuddy.h"

range range_of_all(void) {
    return (range){0, BUDDY_SORTED, 0};
}

/* The byte at the range's depth of the token in place i; -1 where that ends. */
static int byte_at(const range *r, int32_t i) {
    size_t length;
    const char *piece = buddy_piece(buddy_by_text[i], &length);
    return r->depth < length ? (uint8_t)piece[r->depth] : -1;
}

/* The first place whose byte is at least this. */
static int32_t first_with(const range *r, int byte) {
    int32_t low = r->low, high = r->high;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (byte_at(r, middle) < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void range_narrow(range *r, uint8_t byte) {
    const int32_t low = first_with(r, byte), high = first_with(r, byte + 1);
    r->low = low;
    r->high = high;
    r->depth++;
}

int32_t range_token(const range *r) {
    return r->low < r->high && byte_at(r, r->low) < 0 ? buddy_by_text[r->low] : -1;
}

int32_t token_of(const uint8_t *bytes, size_t size) {
    range r = range_of_all();
    for (size_t i = 0; i < size && r.low < r.high; i++) range_narrow(&r, bytes[i]);
    return range_token(&r);
}
