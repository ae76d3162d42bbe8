/* Which kernels this processor runs. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

const struct tb_math *tb_math_pick(void) {
#if defined(__x86_64__) && defined(TB_X86_VARIANTS)
    const char *wish = getenv("TINYBUDDY_KERNELS");
    int most = 2;
    if (wish && strcmp(wish, "avx2") == 0)
        most = 1;
    else if (wish && strcmp(wish, "baseline") == 0)
        most = 0;
    __builtin_cpu_init();
    if (most >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return &tb_math_avx512;
    if (most >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &tb_math_avx2;
#endif
    return &tb_math_baseline;
}
