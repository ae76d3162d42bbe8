/* What the engine is compiled for. The C export has another file of this name, and all else that
   it takes from here as it is. */

#ifndef TB_TARGET_H
#define TB_TARGET_H

/* Floats in the widest vector, 64 bytes: sizes are rounded up to it. It is the same in all of the
   engine's libraries, since they go on with each other's streams. */
#define TB_ALIGN 16

/* Whether weights of so many bits, 32, 8 or 4, are computed with. */
#define TB_HAS_BITS(bits) 1

#endif
