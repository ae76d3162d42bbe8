/* Texts generated side by side: what is fed next, what is drawn, and when a text slides. */

#include "decode_internal.h"

#include <string.h>

enum {
    GROUP_SIZE = 18,  /* sequences whose caches stay near: 64 of 28 KB each are more than 1 MB */
    GROUP_STEPS = 16, /* of a group before the next one's turn: what it costs to change is shared */
    PROMPT_ROWS = 16  /* of one prompt in a step: shares the weights, yet ends soon */
};

/* Queues at most `most` of the tokens that a sequence has to be fed next, behind the rows so far:
   its last token, or some of its prompt. Returns how many. */
static int32_t queue_rows(const tb_model *m, tb_scratch *s, tb_sequence *q, int32_t owner,
                          int32_t row, int32_t most) {
    const int32_t context = m->config.max_position_embeddings;
    const int32_t half = context / 2 > 1 ? context / 2 : 1;
    if (q->count - q->start > context) { /* the window slides: its last half stays */
        q->start = q->count - half;
        q->fed = 0;
    }
    if (q->fed == 0) q->stream->length = 0;
    const int32_t left = q->count - q->start - q->fed;
    int32_t rows = left < most ? left : most;
    if (rows > s->rows - row) rows = s->rows - row;
    for (int32_t r = row; r < row + rows; r++) {
        s->streams[r] = q->stream;
        s->tokens[r] = q->ids[q->start + q->fed++];
        s->positions[r] = q->stream->length++;
        s->wanted[r] = r - row == left - 1;
        s->owners[r] = owner;
    }
    return rows;
}

/* Draws the next token of a sequence from its logits, or ends it where nothing can be drawn. */
static void append(const tb_model *m, tb_scratch *s, tb_sequence *q, const float *logits) {
    if (q->seen)
        while (q->marked < q->count) q->seen[q->ids[q->marked++]] = 1;
    const int32_t id =
        tb_sample(logits, m->config.vocab_size, &q->sampling, q->seen, &q->random, s->sampling);
    if (id < 0) q->result = TB_NOT_FINITE;
    if (id < 0 || id == q->eos)
        q->ended = 1;
    else
        q->ids[q->count++] = id;
    if (q->count >= q->limit) q->ended = 1;
}

/* Feeds the queued rows, and appends to the sequences that have been fed whole. */
static void flush(const tb_model *m, tb_scratch *s, int32_t rows, tb_sequence *const *sequences) {
    const float *logits = s->logits;
    tb_decode_rows(m, s, rows);
    for (int32_t r = 0; r < rows; r++) {
        if (!s->wanted[r]) continue;
        append(m, s, sequences[s->owners[r]], logits);
        logits += tb_padded((uint64_t)m->config.vocab_size);
    }
}

/* Generates on with a group of sequences; returns how many have not ended. */
static int32_t generate(const tb_model *m, tb_scratch *s, int32_t count,
                        tb_sequence *const *sequences, int32_t steps, const tb_flag *stop) {
    int32_t going = 0;
    for (int32_t step = 0; step < steps; step++) {
        int32_t rows = 0;
        for (int32_t i = 0; i < count; i++) {
            tb_sequence *q = sequences[i];
            if (stop && rows == 0 && tb_is_set(stop)) return going;
            if (q->ended) continue;
            for (int32_t quota = PROMPT_ROWS, unfed = 1; quota > 0 && unfed > 0;) {
                const int32_t queued = queue_rows(m, s, q, i, rows, quota);
                rows += queued;
                quota -= queued;
                unfed = q->count - q->start - q->fed;
                if (rows == s->rows) {
                    flush(m, s, rows, sequences);
                    rows = 0;
                }
            }
        }
        if (rows) flush(m, s, rows, sequences);
        going = 0;
        for (int32_t i = 0; i < count; i++) going += !sequences[i]->ended;
        if (!going) return 0;
    }
    return going;
}

static int check(const tb_model *m, tb_sequence *q) {
    if (q->count >= q->limit) q->ended = 1;
    if (q->ended) return TB_OK;
    if (q->count < 1 || q->start < 0 || q->fed < 0 || q->marked < 0 || q->marked > q->count ||
        q->start + (int64_t)q->fed >= q->count || (q->fed && q->fed != q->stream->length))
        return TB_BAD_SEQUENCE;
    /* What is fed lies behind start, also after the window has slid; marks are set from marked on.
     */
    const int32_t first = q->seen && q->marked < q->start ? q->marked : q->start;
    for (int32_t i = first; i < q->count; i++)
        if (q->ids[i] < 0 || q->ids[i] >= m->config.vocab_size) return TB_BAD_TOKEN;
    return TB_OK;
}

int tb_generate(const tb_model *m, tb_scratch *s, int32_t count, tb_sequence *const *sequences,
                int32_t steps, const tb_flag *stop) {
    for (int32_t i = 0; i < count; i++) {
        const int result = check(m, sequences[i]);
        if (result != TB_OK) return result;
    }
    for (int32_t done = 0; done < steps; done += GROUP_STEPS) {
        const int32_t some = steps - done < GROUP_STEPS ? steps - done : GROUP_STEPS;
        int32_t going = 0;
        for (int32_t first = 0; first < count; first += GROUP_SIZE) {
            const int32_t size = count - first < GROUP_SIZE ? count - first : GROUP_SIZE;
            going += generate(m, s, size, sequences + first, some, stop);
        }
        if (!going || (stop && tb_is_set(stop))) break;
    }
    return TB_OK;
}
