/* Instructions of buddy_next: with qemu's -icount shift=0 an instruction takes a nanosecond of
   virtual time, and SysTick counts the 25 MHz of the board, 40 of them. Prints those of reading a
   token of the text and of drawing one, and the RAM. */

#include <stdio.h>

#include "tinybuddy.h"

enum { TOKENS = 60, INSTRUCTIONS_A_TICK = 40, MOST = 0xffffff };

static volatile uint32_t *const control = (uint32_t *)0xe000e010,
                                *const reload = (uint32_t *)0xe000e014,
                                *const left = (uint32_t *)0xe000e018;
static buddy b;

static uint32_t ticks(int32_t tokens) {
    uint32_t total = 0;
    while (tokens-- > 0) {
        const uint32_t before = *left;
        if (buddy_next(&b) < 0) return 0;
        total += (before - *left) & MOST; /* it counts down, and begins again */
    }
    return total;
}

int main(void) {
    *reload = MOST;
    *left = 0;
    *control = 5; /* the processor's own clock, no interrupts */
    if (buddy_init(&b) != 0) return 1;
    const int32_t read = 1 + buddy_begin(&b, "Once upon a time", 16, 1);
    const uint32_t first = ticks(1), rest = ticks(TOKENS) / TOKENS;
    printf("%lu %lu %lu\n",
           (unsigned long)((first - rest) / (uint32_t)(read - 1) * INSTRUCTIONS_A_TICK),
           (unsigned long)(rest * INSTRUCTIONS_A_TICK), (unsigned long)BUDDY_RAM_BYTES);
    return 0;
}
