/* What a Cortex-M needs before main, and the counter of its instructions. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int main(void);
void initialise_monitor_handles(void); /* standard output through the debugger, here qemu */
extern char data_begin, data_end, data_in_flash, bss_begin, bss_end, stack_top;

void reset(void) {
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* CPACR: floats on */
    __asm__ volatile("dsb\n isb");
#endif
    memcpy(&data_begin, &data_in_flash, (size_t)(&data_end - &data_begin));
    memset(&bss_begin, 0, (size_t)(&bss_end - &bss_begin));
    initialise_monitor_handles();
    exit(main());
}

static void fault(void) {
    _Exit(3);
}

__attribute__((section(".vectors"), used)) static void *const vectors[] = {
    &stack_top,    (void *)reset, (void *)fault, (void *)fault,
    (void *)fault, (void *)fault, (void *)fault};
