/* Buffers of floats for what goes in whole vectors. */
#ifndef TB_MEMORY_H
#define TB_MEMORY_H

#include "config.h"

/* n zeros that begin where a cache line does; NULL without memory. */
float *tb_floats_new(uint64_t n);
void tb_floats_free(float *floats);

#endif
