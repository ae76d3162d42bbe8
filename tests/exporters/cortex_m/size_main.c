/* All of the library and nothing else, so that its size can be seen. */

#include "tinybuddy.h"

buddy b;
volatile char shown;

int main(void) {
    if (buddy_init(&b) != 0 || buddy_begin(&b, "Once upon a time", 16, 1) < 0) return 1;
    for (int32_t id; (id = buddy_next(&b)) >= 0;) shown = *buddy_decode(&b, id, NULL);
    return 0;
}
void initialise_monitor_handles(void) {
}
