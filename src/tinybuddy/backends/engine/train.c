/* One step: each part of the batch fills a gradient of its own, and the parts are summed in order.
   There are as many parts on one thread as on eight, so the sums, and the weights, are the same. */
#include "train.h"

#include "memory.h"
#include "pass.h"
#include "rope.h"
#include "threads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_PARTS = 8,         /* threads that find work; a part takes 0.02 ms to sum */
    PART_FLOATS = 64000000, /* of all parts together: a larger model gets fewer */
    MOST_THREADS = 64,
};

struct tb_trainer {
    tb_layout layout;
    size_t threads;
    tb_thread_pool *pool;
    int muon;
    float *weights, *rope;
    size_t rope_row;
    float *embedding_rows, *embedding_pairs; /* in bf16, of the step under way */
    tb_pass passes[MOST_THREADS];            /* made when a thread first needs one */
    int trains;                              /* the rest is there */
    tb_optimizer optimizer;
    size_t parts;
    float *part[MOST_PARTS]; /* gradients */
    double losses[MOST_PARTS];
};

/* The table of rotary positions, transposed. */
static int make_rope(tb_trainer *m) {
    size_t context = (size_t)m->layout.config.max_position_embeddings, d = m->layout.head;
    float *table = tb_floats_new(tb_rope_floats(&m->layout.config));
    m->rope_row = tb_stride(context);
    m->rope = tb_floats_new((uint64_t)d * m->rope_row);
    if (table && m->rope) {
        tb_rope_fill(&m->layout.config, table);
        for (size_t i = 0; i < context; i++)
            for (size_t j = 0; j < d; j++) m->rope[j * m->rope_row + i] = table[i * d + j];
    }
    tb_floats_free(table);
    return table && m->rope ? TB_OK : TB_NO_MEMORY;
}

int tb_trainer_new(const tb_config *config, int32_t threads, int32_t muon, tb_trainer **made) {
    *made = NULL;
    tb_trainer *m = calloc(1, sizeof *m);
    if (!m) return TB_NO_MEMORY;
    m->threads = threads < 1 ? 1 : threads < MOST_THREADS ? (size_t)threads : MOST_THREADS;
    m->muon = muon;
    m->pool = tb_thread_pool_new(m->threads);
    int result = tb_layout_make(&m->layout, config);
    if (result == TB_OK) {
        m->weights = tb_floats_new(m->layout.size);
        if (!m->pool || !m->weights || make_rope(m) != TB_OK) result = TB_NO_MEMORY;
    }
    if (result != TB_OK) {
        tb_trainer_free(m);
        return result;
    }
    *made = m;
    return TB_OK;
}

void tb_trainer_free(tb_trainer *m) {
    if (!m) return;
    for (size_t i = 0; i < MOST_THREADS; i++) tb_pass_free(&m->passes[i]);
    for (size_t i = 0; i < MOST_PARTS; i++) tb_floats_free(m->part[i]);
    tb_optimizer_free(&m->optimizer);
    tb_floats_free(m->weights);
    tb_floats_free(m->rope);
    tb_floats_free(m->embedding_rows);
    tb_floats_free(m->embedding_pairs);
    tb_layout_free(&m->layout);
    tb_thread_pool_free(m->pool);
    free(m);
}

/* Memory that only training needs. */
static int begin_training(tb_trainer *m) {
    if (m->trains) return TB_OK;
#if TB_BF16
    const uint64_t embedding =
        (m->layout.embedding.rows + 1) * (uint64_t)m->layout.embedding.stride;
    if (!m->embedding_rows) m->embedding_rows = tb_floats_new(embedding / 2);
    if (!m->embedding_pairs) m->embedding_pairs = tb_floats_new(embedding / 2);
    if (!m->embedding_rows || !m->embedding_pairs) return TB_NO_MEMORY;
#endif
    if (tb_optimizer_make(&m->optimizer, &m->layout, m->pool, m->threads, m->muon) != 0)
        return TB_NO_MEMORY;
    m->trains = 1;
    return TB_OK;
}

/* The buffer that TB_WEIGHTS and so on name; NULL for another number, or without memory. */
static float *buffer(tb_trainer *m, int what) {
    if (what < TB_WEIGHTS || what > TB_GRADIENT) return NULL;
    if (what != TB_WEIGHTS && begin_training(m) != TB_OK) return NULL;
    float *const all[] = {m->weights, m->optimizer.mean, m->optimizer.square,
                          m->optimizer.gradient};
    return all[what];
}

int tb_trainer_put(tb_trainer *m, int what, const float *dense) {
    float *to = buffer(m, what);
    if (!to) return TB_NO_MEMORY;
    tb_layout_pack(&m->layout, dense, to);
    return TB_OK;
}

int tb_trainer_get(tb_trainer *m, int what, float *dense) {
    const float *from = buffer(m, what);
    if (!from) return TB_NO_MEMORY;
    tb_layout_unpack(&m->layout, from, dense);
    return TB_OK;
}

int64_t tb_trainer_steps(const tb_trainer *m) {
    return m->optimizer.steps;
}

int tb_trainer_set_steps(tb_trainer *m, int64_t steps) {
    if (begin_training(m) != TB_OK) return TB_NO_MEMORY;
    m->optimizer.steps = steps;
    return TB_OK;
}

/* What all tasks of one call share. */
typedef struct job {
    tb_trainer *m;
    tb_weights weights;
    const int32_t *inputs, *targets;
    size_t batch, length, parts;
    const tb_flag *stop;
    float *out;
} job;

/* Threads that have memory for sequences of this length; 0 where not even one has. */
static size_t ready_threads(tb_trainer *m, size_t tasks, size_t length, int with_backward) {
    size_t wanted = m->threads < tasks ? m->threads : tasks;
    for (size_t i = 0; i < wanted; i++) {
        tb_pass *p = &m->passes[i];
        if (p->length >= length && (p->dx || !with_backward)) continue;
        if (p->length > length) length = p->length;
        with_backward |= p->dx != NULL;
        tb_pass_free(p);
        if (tb_pass_make(p, &m->layout, length, with_backward) != 0) return i;
    }
    return wanted;
}

static tb_weights current(const tb_trainer *m) {
    return (tb_weights){m->weights, m->rope, m->rope_row, NULL, NULL};
}

/* The same for a training step, with the embedding in bf16 where the processor multiplies that. */
static tb_weights current_for_training(const tb_trainer *m) {
    tb_weights w = current(m);
#if TB_BF16
    const tb_place *e = &m->layout.embedding;
    const float *embedding = m->weights + e->at;
    tb_bf16_rows(e->rows, e->columns, embedding, e->stride, m->embedding_rows, e->stride / 2);
    tb_bf16_pairs(e->rows, e->columns, embedding, e->stride, m->embedding_pairs, e->stride);
    w.embedding_rows = m->embedding_rows;
    w.embedding_pairs = m->embedding_pairs;
#endif
    return w;
}

static tb_pass *pass_of(const job *job, size_t thread) {
    tb_pass *p = &job->m->passes[thread];
    p->stop = job->stop;
    return p;
}

/* Sequences task * batch / parts and on, into the gradient of this part. */
static void train_part(void *context, size_t thread, size_t task) {
    job *job = context;
    tb_pass *p = pass_of(job, thread);
    float scale = (float)(1.0 / ((double)job->batch * (double)job->length));
    double loss = 0;
    if (tb_is_set(job->stop)) return;
    size_t begin = task * job->batch / job->parts, end = (task + 1) * job->batch / job->parts;
    for (size_t i = begin; i < end && !tb_is_set(job->stop); i++) {
        const int32_t *inputs = job->inputs + i * job->length;
        const int32_t *targets = job->targets + i * job->length;
        tb_forward(p, &job->weights, inputs, job->length);
        tb_backward(p, &job->weights, inputs, targets, job->length, scale, job->m->part[task],
                    i > begin);
        for (size_t t = 0; t < job->length; t++) loss += (double)p->loss[t];
    }
    job->m->losses[task] = loss;
}

int tb_trainer_step(tb_trainer *m, const int32_t *inputs, const int32_t *targets, int64_t batch,
                    int64_t length, const tb_optimizer_settings *settings, const tb_flag *stop,
                    double *result) {
    size_t parts = (size_t)batch < MOST_PARTS ? (size_t)batch : MOST_PARTS;
    while (parts > 1 && parts * m->layout.size > PART_FLOATS) parts--;
    if (begin_training(m) != TB_OK) return TB_NO_MEMORY;
    for (size_t i = 0; i < parts; i++)
        if (!m->part[i] && !(m->part[i] = tb_floats_new(m->layout.size))) return TB_NO_MEMORY;
    size_t threads = ready_threads(m, parts, (size_t)length, 1);
    if (threads == 0) return TB_NO_MEMORY;
    job job = {.m = m,
               .weights = current_for_training(m),
               .inputs = inputs,
               .targets = targets,
               .batch = (size_t)batch,
               .length = (size_t)length,
               .parts = parts,
               .stop = stop};
    tb_thread_pool_run(m->pool, threads, parts, train_part, &job);
    if (tb_is_set(stop)) /* the last look: from here on the step is done */
        return TB_STOPPED;
    double loss = 0;
    for (size_t i = 0; i < parts; i++) loss += m->losses[i];
    result[0] = loss / ((double)batch * (double)length);
    result[1] = tb_optimizer_gather(&m->optimizer, parts, m->part);
    if (!isfinite(result[0]) || !isfinite(result[1])) return TB_NOT_FINITE;
    tb_optimizer_step(&m->optimizer, settings, result[1], m->weights);
    return TB_OK;
}

static void score_sequence(void *context, size_t thread, size_t task) {
    job *job = context;
    tb_pass *p = pass_of(job, thread);
    if (tb_is_set(job->stop)) return;
    tb_forward(p, &job->weights, job->inputs + task * job->length, job->length);
    tb_losses(p, &job->weights, job->targets + task * job->length, job->length);
    for (size_t t = 0; t < job->length; t++) job->out[task * job->length + t] = -p->loss[t];
}

static void logits_of_sequence(void *context, size_t thread, size_t task) {
    job *job = context;
    tb_pass *p = pass_of(job, thread);
    size_t v = (size_t)job->m->layout.config.vocab_size;
    float *out = job->out + task * job->length * v;
    if (tb_is_set(job->stop)) return;
    tb_forward(p, &job->weights, job->inputs + task * job->length, job->length);
    for (size_t from = 0; from < job->length; from += p->head_columns) {
        size_t rest = job->length - from, rows = rest < p->head_columns ? rest : p->head_columns;
        tb_logits(p, &job->weights, from, rows);
        for (size_t i = 0; i < rows; i++, out += v)
            for (size_t j = 0; j < v; j++) out[j] = p->logits[j * p->head_columns + i];
    }
}

static int each_sequence(tb_trainer *m, job *job, void (*work)(void *, size_t, size_t)) {
    size_t threads = ready_threads(m, job->batch, job->length, 0);
    if (threads == 0) return TB_NO_MEMORY;
    job->m = m;
    job->weights = current(m);
    tb_thread_pool_run(m->pool, threads, job->batch, work, job);
    return tb_is_set(job->stop) ? TB_STOPPED : TB_OK;
}

int tb_trainer_score(tb_trainer *m, const int32_t *inputs, const int32_t *targets, int64_t batch,
                     int64_t length, const tb_flag *stop, float *log_p) {
    job job = {.inputs = inputs,
               .targets = targets,
               .batch = (size_t)batch,
               .length = (size_t)length,
               .stop = stop,
               .out = log_p};
    return each_sequence(m, &job, score_sequence);
}

int tb_trainer_logits(tb_trainer *m, const int32_t *inputs, int64_t batch, int64_t length,
                      const tb_flag *stop, float *logits) {
    job job = {.inputs = inputs,
               .batch = (size_t)batch,
               .length = (size_t)length,
               .stop = stop,
               .out = logits};
    return each_sequence(m, &job, logits_of_sequence);
}
