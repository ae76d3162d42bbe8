/* Which of the engine's libraries this processor runs: asked of the baseline one, which runs on
   every processor of its kind, before a wider one is opened. */
#include "dispatch.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* VDPBF16PS and its like. Older compilers' __builtin_cpu_supports has no name for them. */
static int has_avx512_bf16(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}
#endif

const char *tb_processor(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    int fma = __builtin_cpu_supports("fma");
    if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return has_avx512_bf16() ? TB_AVX512_BF16 : TB_AVX512;
    if (fma && __builtin_cpu_supports("avx2")) return TB_AVX2;
#endif
    return TB_BASELINE;
}
