/* Which of the engine's libraries this processor runs: asked of the baseline one, which runs on
   every processor of its kind, before a wider one is opened. */
#include "dispatch.h"

#include "decode.h"
#include "vector.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits as Intel's manual numbers them. __builtin_cpu_supports does without these, but finds nothing
   in what zig 0.17.1 compiles, our wheels, and has no name for bf16 in older compilers. */
enum {
    FMA = 1 << 12, /* leaf 1, ECX */
    OSXSAVE = 1 << 27,
    AVX2 = 1 << 5, /* leaf 7, EBX */
    AVX512F = 1 << 16,
    AVX512DQ = 1 << 17,
    AVX512BW = 1 << 30,
    AVX512VL = 31,        /* its number: an int has no such bit */
    AVX512_BF16 = 1 << 5, /* leaf 7, subleaf 1, EAX */
    YMM = 0x06,           /* registers that the system saves: SSE and AVX */
    ZMM = 0xe6            /* and the three parts that AVX-512 adds */
};

static const char *x86_processor(void) {
    unsigned eax, ebx, ecx, edx, saved;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & FMA) || !(ecx & OSXSAVE))
        return TB_BASELINE;
    __asm__("xgetbv" : "=a"(saved), "=d"(edx) : "c"(0));
    if ((saved & YMM) != YMM || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & AVX2))
        return TB_BASELINE;
    const unsigned avx512 = AVX512F | AVX512DQ | AVX512BW | 1u << AVX512VL;
    if ((saved & ZMM) != ZMM || (ebx & avx512) != avx512) return TB_AVX2;
    if (!__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) return TB_AVX512;
    return eax & AVX512_BF16 ? TB_AVX512_BF16 : TB_AVX512;
}
#endif

const char *tb_processor(void) {
#if defined(__x86_64__)
    return x86_processor();
#else
    return TB_BASELINE;
#endif
}

const char *tb_kernels_name(void) {
    return TB_BF16          ? TB_AVX512_BF16
           : TB_LANES == 16 ? TB_AVX512
           : TB_LANES == 8  ? TB_AVX2
           : TB_LANES == 4  ? TB_BASELINE
                            : "scalar";
}
