/* Which of the engine's libraries to open. */
#ifndef TB_DISPATCH_H
#define TB_DISPATCH_H

/* "avx512", "avx2" or "baseline": the fastest that this processor runs. */
const char *tb_processor(void);

#endif
