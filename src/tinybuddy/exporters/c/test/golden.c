/* Whether this compiler and this processor generate what tinybuddy's own engine does: for each case
   it prints the ids of a text and those that follow. Returns 0 if all are as they should be. */

#include <stdio.h>

#include "tinybuddy.h"

#include "cases.h"

static buddy b;
static uint16_t ids[512];

static int differs(const struct golden_case *c) {
    int different = 0;
    const int32_t count = buddy_encode(c->text, (size_t)c->length, ids, sizeof ids / sizeof *ids);
    different |= count + 1 != c->reads;
    printf("reads %d", BUDDY_BOS);
    for (int32_t i = 0; i < count; i++) {
        printf(" %d", ids[i]);
        different |= ids[i] != c->ids[i + 1];
    }
    different |= buddy_init(&b) != 0;
    if (c->greedy) b.sampling.temperature = 0;
    different |= buddy_begin(&b, c->text, (size_t)c->length, 1) != count;
    printf("\nfollows");
    for (int32_t i = 0; i < c->follows && !different; i++) {
        int32_t id = buddy_next(&b);
        if (id < 0) id = BUDDY_EOS;
        printf(" %d", (int)id);
        different |= id != c->next[i];
    }
    printf("\n");
    return different;
}

int main(void) {
    int different = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) different |= differs(&cases[i]);
    return different;
}
