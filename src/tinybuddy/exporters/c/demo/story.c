/* Writes a story: story [TEXT [SEED]] */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tinybuddy.h"

enum { MOST_TOKENS = 512 }; /* of a story that does not end by itself, as in `tinybuddy generate` */

static buddy b;

static void show(int32_t id) {
    size_t length;
    const char *text = buddy_decode(&b, id, &length);
    fwrite(text, 1, length, stdout);
    fflush(stdout);
}

int main(int count, char **arguments) {
    const char *text = count > 1 ? arguments[1] : "Once upon a time";
    const uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    int32_t id = 0;
    if (buddy_init(&b) != 0 || buddy_begin(&b, text, strlen(text), seed) < 0) return 1;
    fputs(text, stdout);
    for (int left = MOST_TOKENS; left > 0 && (id = buddy_next(&b)) >= 0; left--) show(id);
    show(BUDDY_END);
    putchar('\n');
    return id == BUDDY_BROKEN;
}
