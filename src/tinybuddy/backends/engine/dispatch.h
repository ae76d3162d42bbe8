/* Which of the engine's libraries to open. */
#ifndef TB_DISPATCH_H
#define TB_DISPATCH_H

/* What libraries are called, by the processor that they are for; build.py has the same. */
#define TB_AVX512_BF16 "avx512_bf16"
#define TB_AVX512      "avx512"
#define TB_AVX2        "avx2"
#define TB_BASELINE    "baseline"

/* One of these: the fastest that this processor runs. */
const char *tb_processor(void);

#endif
