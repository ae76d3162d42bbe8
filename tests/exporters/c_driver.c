/* Drives an exported library with whatever comes on standard input.

       c_driver tokens      texts, each its length in 4 bytes and then itself: prints the ids of
   each, and what these decode to, in hexadecimal c_driver story SEED COUNT PENALTY TEMPERATURE
   TOP_P MIN_P TOP_K one text: prints the ids that follow, and the status at the end c_driver sizes
   prints what the engine asks for and what model.h says

   Memory is of the size that is promised and no larger, so that a byte beyond it is seen. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tinybuddy.h"

#include "engine/decode_internal.h"

static buddy b;

static void show(int32_t id) {
    size_t length;
    const char *text = buddy_decode(&b, id, &length);
    for (size_t i = 0; i < length; i++) printf("%02x", (unsigned)(uint8_t)text[i]);
}

static void tokens(void) {
    for (uint32_t length; fread(&length, sizeof length, 1, stdin) == 1;) {
        char *text = malloc(length ? length : 1);
        /* A byte that is no character counts as the three of U+FFFD. */
        uint16_t *ids = malloc(length ? 3 * length * sizeof *ids : 1);
        uint16_t *few = malloc(length / 2 ? length / 2 * sizeof *few : 1);
        if (!text || !ids || !few || fread(text, 1, length, stdin) != length) exit(2);
        const int32_t count = buddy_encode(text, length, ids, 3 * length);
        const int32_t again = buddy_encode(text, length, few, length / 2);
        if (again != BUDDY_TOO_LONG &&
            (again != count || memcmp(few, ids, (size_t)count * sizeof *ids)))
            exit(3);
        for (int32_t i = 0; i < count; i++) printf("%d ", ids[i]);
        printf("=");
        for (int32_t i = 0; i < count; i++) show(ids[i]);
        show(-1);
        printf("\n");
        free(few);
        free(ids);
        free(text);
    }
}

static void story(char **arguments) {
    static char text[1 << 20];
    const size_t length = fread(text, 1, sizeof text, stdin);
    const tb_sampling sampling = {strtod(arguments[2], NULL), strtod(arguments[3], NULL),
                                  strtod(arguments[4], NULL), strtod(arguments[5], NULL),
                                  atoi(arguments[6])};
    b.sampling = sampling;
    int32_t id = buddy_begin(&b, text, length, strtoull(arguments[0], NULL, 10));
    for (int left = atoi(arguments[1]); id >= 0 && left > 0; left--) {
        id = buddy_next(&b);
        if (id >= 0) printf("%d ", (int)id);
    }
    printf("%d\n", id < 0 ? (int)id : 0);
}

static void sizes(void) {
    const tb_config config = BUDDY_CONFIG;
    tb_model *model = (tb_model *)(void *)b.model;
    printf("%lu %lu %lu %lu %lu\n", (unsigned long)tb_packed_bytes(&config),
           (unsigned long)tb_stream_bytes(model), (unsigned long)BUDDY_CACHE_BYTES,
           (unsigned long)tb_scratch_bytes(model, 1), (unsigned long)BUDDY_SCRATCH_BYTES);
}

int main(int count, char **arguments) {
    memset(&b, 0xa5, sizeof b);
    if (count < 2 || buddy_init(&b) != 0 || buddy_next(&b) != BUDDY_END) return 1;
    if (strcmp(arguments[1], "tokens") == 0) tokens();
    if (strcmp(arguments[1], "story") == 0 && count == 9) story(arguments + 2);
    if (strcmp(arguments[1], "sizes") == 0) sizes();
    return 0;
}
