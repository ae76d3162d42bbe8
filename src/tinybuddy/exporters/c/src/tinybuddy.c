/* One story at a time, on the decoder of the engine: src/engine is the same code that tinybuddy's
   Python package runs. */

#include "tinybuddy.h"

#include <string.h>

#include "engine/decode_internal.h"
#include "tables.h"
#include "utf8.h"

#if BUDDY_FORMAT != 1
#error "model.h is of another version than this code: export both again."
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The weights are little-endian, and this processor is not."
#endif

static tb_model *model_of(buddy *b) {
    return (tb_model *)(void *)b->model;
}
static tb_stream *stream_of(buddy *b) {
    return (tb_stream *)(void *)b->cache;
}
static tb_scratch *scratch_of(buddy *b) {
    return (tb_scratch *)(void *)b->scratch;
}

int buddy_init(buddy *b) {
    static const tb_config config = BUDDY_CONFIG;
    static const tb_sampling sampling = BUDDY_SAMPLING;
    memset(b, 0, sizeof *b);
    b->sampling = sampling;
    b->ended = BUDDY_END; /* there is no story yet */
    if (tb_packed_bytes(&config) != sizeof buddy_weights ||
        tb_model_bytes(&config) > sizeof b->model ||
        tb_model_init(model_of(b), &config, buddy_weights) != TB_OK ||
        tb_stream_bytes(model_of(b)) > sizeof b->cache ||
        tb_scratch_bytes(model_of(b), 1) > sizeof b->scratch)
        return BUDDY_BAD_MODEL;
    tb_scratch_init(model_of(b), scratch_of(b), 1);
    return 0;
}

/* Keeps the last half of the context, which is what the engine does in Python too. */
static void slide(buddy *b) {
    const int32_t half = BUDDY_CONTEXT / 2 > 1 ? BUDDY_CONTEXT / 2 : 1;
    memmove(b->ids, b->ids + b->count - half, (size_t)half * sizeof *b->ids);
    b->count = half;
    b->fed = 0;
}

int32_t buddy_begin(buddy *b, const char *text, size_t length, uint64_t seed) {
    /* The cache is of no more use, so it is where the ids come to lie at first. */
    uint16_t *ids = (uint16_t *)(void *)b->cache;
    const int32_t count = buddy_encode(text, length, ids, BUDDY_CACHE_BYTES / sizeof *ids);
    memset(b->seen, 0, sizeof b->seen);
    b->count = b->fed = b->held = 0;
    b->ended = count < 0 ? BUDDY_END : 0;
    if (count < 0) return count;
    tb_random_seed(&b->random, seed);
    for (int32_t i = -1; i < count; i++) {
        const uint16_t id = i < 0 ? BUDDY_BOS : ids[i];
        b->seen[id] = 1;
        if (b->count > BUDDY_CONTEXT) { /* only the end of the text will be read */
            memmove(b->ids, b->ids + 1, BUDDY_CONTEXT * sizeof *b->ids);
            b->count--;
        }
        b->ids[b->count++] = id;
    }
    return count;
}

/* Feeds an id to the model, which leaves logits in the scratch if they are wanted. */
static void feed(buddy *b, int32_t id, int32_t wanted) {
    tb_scratch *s = scratch_of(b);
    s->streams[0] = stream_of(b);
    s->tokens[0] = id;
    s->positions[0] = s->streams[0]->length++;
    s->wanted[0] = wanted;
    tb_decode_rows(model_of(b), s, 1);
}

int32_t buddy_next(buddy *b) {
    if (b->ended) return b->ended;
    if (b->count > BUDDY_CONTEXT) slide(b);
    if (b->fed == 0) tb_stream_init(stream_of(b));
    for (; b->fed < b->count; b->fed++) feed(b, b->ids[b->fed], b->fed + 1 == b->count);
    const int32_t id = tb_sample(scratch_of(b)->logits, BUDDY_VOCAB_SIZE, &b->sampling, b->seen,
                                 &b->random, scratch_of(b)->sampling);
    if (id < 0 || id == BUDDY_EOS) return b->ended = id < 0 ? BUDDY_BROKEN : BUDDY_END;
    b->seen[id] = 1;
    b->ids[b->count++] = (uint16_t)id;
    return id;
}

const char *buddy_piece(int32_t id, size_t *length) {
    if (id < 0 || id >= BUDDY_TOKENS) {
        *length = 0;
        return "";
    }
    *length = (size_t)(buddy_piece_ends[id] - (id ? buddy_piece_ends[id - 1] : 0));
    return (const char *)buddy_pieces + buddy_piece_ends[id] - *length;
}

/* What is held is the beginning of a character, at most 3 bytes; the end of the text ends it too.
 */
const char *buddy_decode(buddy *b, int32_t id, size_t *length) {
    uint8_t bytes[sizeof b->unfinished + BUDDY_LONGEST_PIECE];
    size_t count = (size_t)b->held, size, at = 0, written = 0;
    const char *piece = buddy_piece(id, &size);
    memcpy(bytes, b->unfinished, count);
    memcpy(bytes + count, piece, size);
    count += size;
    while (at < count) {
        const utf8 c = utf8_next(bytes + at, count - at);
        if (c.unfinished && id >= 0) break;
        memcpy(b->text + written, c.text, c.size);
        written += c.size;
        at += c.taken;
    }
    b->held = (int32_t)(count - at);
    memcpy(b->unfinished, bytes + at, count - at);
    b->text[written] = 0;
    if (length) *length = written;
    return b->text;
}
