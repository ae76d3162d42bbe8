/* What a caller that cannot read headers must know of the structs that it fills. */

#ifndef TB_ABI_H
#define TB_ABI_H

#include <stdint.h>

enum { TB_ABI_VERSION = 1 }; /* raised when a function changes what it takes or does */

typedef struct tb_abi_entry {
    const char *name; /* such as "tb_config.vocab_size", "sizeof tb_config" or "TB_OK" */
    int64_t value;
} tb_abi_entry;

/* The version, sizes and offsets of structs, status codes and limits; a NULL name ends the list. */
const tb_abi_entry *tb_abi(void);

#endif
