/* A Llama's decoder: one token at a time, for one text or many side by side.

   Portable C11 on libc and libm alone. It allocates nothing: the caller asks for a number of bytes
   and brings the memory, aligned to 64 bytes. A stream holds no pointers, and it is the same for
   vectors of any width, so it may be copied, kept, and gone on with by another library of the
   engine; a model and a scratch hold pointers into themselves.

   The order of things: tb_pack turns weights into the layout that decoding walks through, once;
   tb_model_init makes a model of them; each text has a tb_stream (its key-value cache); a
   tb_scratch is the working memory of one thread. tb_step continues any streams by a token each. */

#ifndef TB_DECODE_H
#define TB_DECODE_H

#include "config.h"
#include "sample.h"

typedef struct tb_model tb_model;
typedef struct tb_stream tb_stream;
typedef struct tb_scratch tb_scratch;

/* Bytes that each thing takes; 0 where the shape is impossible. */
uint64_t tb_packed_bytes(const tb_config *config);
uint64_t tb_model_bytes(const tb_config *config);
uint64_t tb_stream_bytes(const tb_model *model);
uint64_t tb_scratch_bytes(const tb_model *model, int32_t rows);

/* Packs weights, which come in the order of Python's weight_shapes: embedding; for each layer
   norm, q, k, v, o, norm, gate, up, down; norm. Matrices are (out, in). */
int tb_pack(const tb_config *config, const float *const *weights, void *packed);

/* A model in `memory` that reads `packed`, which must outlive it. */
int tb_model_init(tb_model *memory, const tb_config *config, const void *packed);

/* An empty text; memory need not be cleared. */
void tb_stream_init(tb_stream *stream);
void tb_scratch_init(const tb_model *model, tb_scratch *scratch, int32_t rows);

/* Feeds one token to each of `rows` streams; a stream may come several times in a row, which feeds
   it a text. logits[r] is NULL or has room for the vocabulary. A refused call changes nothing. */
int tb_step(const tb_model *model, tb_scratch *scratch, int32_t rows, tb_stream *const *streams,
            const int32_t *tokens, float *const *logits);

/* Feeds a text of any length that fits the context; logits (vocab) of the last token, or NULL. */
int tb_feed(const tb_model *model, tb_scratch *scratch, tb_stream *stream, int32_t count,
            const int32_t *tokens, float *logits);

/* A sequence being generated. ids holds the prompt first and has room for `limit`; past the context
   it goes on from the last half of it. */
typedef struct tb_sequence {
    tb_stream *stream; /* its first `fed` ids since `start` are in the cache */
    int32_t *ids;      /* (limit) */
    uint8_t *seen;     /* (vocab), zeros at first, or NULL without a repetition penalty */
    tb_sampling sampling;
    tb_random random;
    int32_t count, limit; /* ids so far, and at most */
    int32_t start, fed;   /* 0 at first */
    int32_t eos;          /* ends the sequence and is not part of it; -1 is none */
    int32_t ended;        /* set when nothing follows */
    int32_t result;       /* TB_OK, or TB_NOT_FINITE where that is why it ended */
    int32_t marked;       /* ids noted in seen; 0 at first */
} tb_sequence;

/* Generates on with each sequence, side by side, until all have ended, each had `steps` steps, or
   the stop flag is set, which is looked at before rows are fed; stop may be NULL. A step feeds a
   sequence one new token, or up to 16 of its prompt; none is more than 16 steps ahead of another.
   Sequences that are refused change nothing; one whose logits are not finite ends, and the others
   go on. All ids that it may read are looked at, also those that an earlier call was given or
   gave. */
int tb_generate(const tb_model *model, tb_scratch *scratch, int32_t count,
                tb_sequence *const *sequences, int32_t steps, const tb_flag *stop);

/* What this library is for: a name of dispatch.h, or "scalar". */
const char *tb_kernels_name(void);

#endif
