/* Which of the engine's libraries this processor runs: asked of the baseline one, which runs on
   every processor of its kind, before a wider one is opened. */
#include "dispatch.h"

const char *tb_processor(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    int fma = __builtin_cpu_supports("fma");
    if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return TB_AVX512;
    if (fma && __builtin_cpu_supports("avx2")) return TB_AVX2;
#endif
    return TB_BASELINE;
}
