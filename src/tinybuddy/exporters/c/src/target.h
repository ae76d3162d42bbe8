/* What the engine is compiled for: any processor with a C99 compiler. */

#ifndef TB_TARGET_H
#define TB_TARGET_H

#include "../model.h"

/* The layout of the weights has whole groups of 4, which is what a vector of SSE2 or NEON holds. */
#define TB_ALIGN BUDDY_ALIGN

/* Without such vectors, as on microcontrollers, a vector is one float: GCC would keep four of them
   in memory, not in registers. */
#if !defined(__SSE2__) && !defined(__ARM_NEON)
#define TB_SCALAR
#endif

/* Texts are not generated side by side, so products of several rows need not lie in flash. */
#define TB_ONE_ROW

/* Sums stay in registers where loops over them are unrolled, which GCC does with -O3 alone: on a
   Cortex-M4 the rest of a token takes 2.4 times as many instructions with -O2, 6 times with -Os. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

/* Weights are of one kind, so the products of the others need not lie in flash. */
#define TB_HAS_BITS(bits) ((bits) == BUDDY_BITS)

#endif
