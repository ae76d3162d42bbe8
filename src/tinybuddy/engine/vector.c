/* Compiles vector_body.h for each kind of processor and picks the best one that is there.

   The compiler's switches stay at the least common processor, so that one file runs anywhere; the
   wider instructions are switched on around each inclusion. (The attribute target_clones would be
   shorter, but GCC splits wide vectors before it clones, and it needs an ELF linker.)
   TB_SCALAR keeps to plain C99 without vectors. */

#include "vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && !defined(TB_SCALAR)
#define TB_INLINE static inline __attribute__((always_inline, unused))
#else
#define TB_INLINE static inline
#endif

#if defined(__GNUC__) && defined(__x86_64__) && !defined(TB_SCALAR)
#define TB_X86 1
#include <immintrin.h>
#elif defined(__GNUC__) && defined(__aarch64__) && !defined(TB_SCALAR)
#include <arm_neon.h>
#endif

#ifdef TB_X86

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#endif
#define LANES 16
#define NAME(x) x##_avx512
#include "vector_body.h"
#undef LANES
#undef NAME
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#define NAME(x) x##_avx2
#include "vector_body.h"
#undef LANES
#undef NAME
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif /* TB_X86 */

#if defined(__GNUC__) && !defined(TB_SCALAR)
#define LANES 4 /* SSE2 and NEON; elsewhere the compiler takes it apart */
#else
#define LANES 1
#endif
#define NAME(x) x##_baseline
#include "vector_body.h"

/* The best kernels that this processor runs; TINYBUDDY_KERNELS names others, to test them. */
const tb_kernels *tb_kernels_pick(void) {
#ifdef TB_X86
    const char *asked = getenv("TINYBUDDY_KERNELS");
    int most = 2;
    if (asked && !strcmp(asked, "avx2")) most = 1;
    if (asked && !strcmp(asked, "baseline")) most = 0;
    __builtin_cpu_init();
    if (most >= 2 && __builtin_cpu_supports("avx512f")) return &kernels_avx512;
    if (most >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &kernels_avx2;
#endif
    return &kernels_baseline;
}
