/* Writes a story: story [TEXT [SEED]] */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tinybuddy.h"

static buddy b;

int main(int count, char **arguments) {
    const char *text = count > 1 ? arguments[1] : "Once upon a time";
    const uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    size_t length;
    int32_t id;
    if (buddy_init(&b) != 0 || buddy_begin(&b, text, strlen(text), seed) < 0) return 1;
    fputs(text, stdout);
    do { /* the last call shows what was unfinished */
        id = buddy_next(&b);
        text = buddy_decode(&b, id, &length);
        fwrite(text, 1, length, stdout);
        fflush(stdout);
    } while (id >= 0);
    putchar('\n');
    return id == BUDDY_END ? 0 : 1;
}
