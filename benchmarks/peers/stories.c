/* Stories of an exported library from nothing: stories SEED SECONDS
   Prints how many tokens a second of the processor. */
#define _POSIX_C_SOURCE 199309L

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tinybuddy.h"

static buddy b;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int count, char **arguments) {
    if (count != 3 || buddy_init(&b) != 0) return 1;
    uint64_t seed = strtoull(arguments[1], NULL, 10);
    const double seconds = strtod(arguments[2], NULL), began = now();
    long tokens = 0;
    do {
        buddy_begin(&b, "", 0, seed++);
        for (int left = BUDDY_CONTEXT - 1; left > 0 && buddy_next(&b) >= 0; left--) tokens++;
    } while (now() - began < seconds);
    printf("%.1f\n", (double)tokens / (now() - began));
    return 0;
}
