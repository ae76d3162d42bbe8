/* One step: each part of the batch fills a gradient of its own, and the parts are summed in order.
 * There are as many parts on one thread as on eight, so the sums, and the weights, are the same. */
#include "train.h"

#include "pass.h"
#include "threads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_PARTS = 8,           /* threads that find work; a part takes 0.04 ms to clear and sum */
    PART_FLOATS = 64000000,   /* of all parts together: a larger model gets fewer */
    MOST_THREADS = 64,
};

struct tb_trainer {
    struct tb_layout layout;
    size_t threads;
    struct tb_crew *crew;
    int muon;
    float *weights, *turned, *rope;
    int turned_is_old;
    struct tb_pass passes[MOST_THREADS]; /* made when a thread first needs one */
    int learns;                          /* the rest is there */
    struct tb_optimizer optimizer;
    size_t parts;
    float *part[MOST_PARTS]; /* gradients */
    double losses[MOST_PARTS];
};

/* Angles in float32, as the reference computes them. */
static void fill_rope(float *rope, const struct tb_layout *l) {
    size_t half = l->head / 2;
    for (int position = 0; position < l->shape.context; position++)
        for (size_t j = 0; j < half; j++) {
            float frequency = 1.0f / powf(l->shape.theta, (float)(2 * j) / (float)l->head);
            float angle = (float)position * frequency;
            rope[(size_t)position * l->head + j] = cosf(angle);
            rope[(size_t)position * l->head + half + j] = sinf(angle);
        }
}

struct tb_trainer *tb_trainer_new(const struct tb_shape *shape, int32_t threads, int32_t muon) {
    struct tb_trainer *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->threads = threads < 1 ? 1 : threads < MOST_THREADS ? (size_t)threads : MOST_THREADS;
    m->muon = muon;
    m->crew = tb_crew_new(m->threads);
    if (tb_layout_make(&m->layout, shape) == 0) {
        m->weights = calloc(m->layout.size, sizeof(float));
        m->turned = calloc(m->layout.turned_size, sizeof(float));
        m->rope = calloc((size_t)shape->context * m->layout.head, sizeof(float));
    }
    if (!m->crew || !m->weights || !m->turned || !m->rope) {
        tb_trainer_free(m);
        return NULL;
    }
    fill_rope(m->rope, &m->layout);
    return m;
}

void tb_trainer_free(struct tb_trainer *m) {
    if (!m)
        return;
    for (size_t i = 0; i < MOST_THREADS; i++)
        tb_pass_free(&m->passes[i]);
    for (size_t i = 0; i < MOST_PARTS; i++)
        free(m->part[i]);
    tb_optimizer_free(&m->optimizer);
    free(m->weights);
    free(m->turned);
    free(m->rope);
    tb_layout_free(&m->layout);
    tb_crew_free(m->crew);
    free(m);
}

/* Memory that only a model that learns needs. */
static int begin_learning(struct tb_trainer *m) {
    if (m->learns)
        return TB_OK;
    if (tb_optimizer_make(&m->optimizer, &m->layout, m->crew, m->threads, m->muon) != 0)
        return TB_NO_MEMORY;
    m->learns = 1;
    return TB_OK;
}

static float *buffer(struct tb_trainer *m, int what) {
    if (what != TB_WEIGHTS && begin_learning(m) != TB_OK)
        return NULL;
    float *const all[] = {m->weights, m->optimizer.mean, m->optimizer.square,
                          m->optimizer.gradient};
    return all[what];
}

int tb_trainer_put(struct tb_trainer *m, int what, const float *dense) {
    float *to = buffer(m, what);
    if (!to)
        return TB_NO_MEMORY;
    tb_layout_pack(&m->layout, dense, to);
    m->turned_is_old = 1;
    return TB_OK;
}

int tb_trainer_get(struct tb_trainer *m, int what, float *dense) {
    const float *from = buffer(m, what);
    if (!from)
        return TB_NO_MEMORY;
    tb_layout_unpack(&m->layout, from, dense);
    return TB_OK;
}

int64_t tb_trainer_steps(const struct tb_trainer *m) {
    return m->optimizer.steps;
}

void tb_trainer_set_steps(struct tb_trainer *m, int64_t steps) {
    if (begin_learning(m) == TB_OK)
        m->optimizer.steps = steps;
}

/* What all tasks of one call share. */
struct job {
    struct tb_trainer *m;
    struct tb_weights weights;
    const int32_t *inputs, *targets;
    size_t batch, length, parts;
    const volatile int32_t *stop;
    float *out;
};

/* Threads that have memory for sequences of this length; 0 where not even one has. */
static size_t ready_threads(struct tb_trainer *m, size_t tasks, size_t length, int with_backward) {
    size_t wanted = m->threads < tasks ? m->threads : tasks;
    for (size_t i = 0; i < wanted; i++) {
        struct tb_pass *p = &m->passes[i];
        if (p->length >= length && (p->dx || !with_backward))
            continue;
        if (p->length > length)
            length = p->length;
        with_backward |= p->dx != NULL;
        tb_pass_free(p);
        if (tb_pass_make(p, &m->layout, length, with_backward) != 0)
            return i;
    }
    return wanted;
}

static struct tb_weights current(struct tb_trainer *m) {
    if (m->turned_is_old)
        tb_layout_turn(&m->layout, m->weights, m->turned);
    m->turned_is_old = 0;
    return (struct tb_weights){m->weights, m->turned, m->rope};
}

static struct tb_pass *pass_of(const struct job *job, size_t thread) {
    struct tb_pass *p = &job->m->passes[thread];
    p->stop = job->stop;
    return p;
}

/* Sequences task * batch / parts and on, into the gradient of this part. */
static void learn_part(void *context, size_t thread, size_t task) {
    struct job *job = context;
    struct tb_pass *p = pass_of(job, thread);
    float scale = (float)(1.0 / ((double)job->batch * (double)job->length));
    double loss = 0;
    if (*job->stop)
        return;
    memset(job->m->part[task], 0, job->m->layout.size * sizeof(float));
    size_t end = (task + 1) * job->batch / job->parts;
    for (size_t i = task * job->batch / job->parts; i < end && !*job->stop; i++) {
        const int32_t *inputs = job->inputs + i * job->length;
        const int32_t *targets = job->targets + i * job->length;
        tb_forward(p, &job->weights, inputs, job->length);
        tb_backward(p, &job->weights, inputs, targets, job->length, scale, job->m->part[task]);
        for (size_t t = 0; t < job->length; t++)
            loss += (double)p->loss[t];
    }
    job->m->losses[task] = loss;
}

int tb_trainer_step(struct tb_trainer *m, const int32_t *inputs, const int32_t *targets,
                    int64_t batch, int64_t length, const struct tb_settings *settings,
                    const volatile int32_t *stop, double *result) {
    size_t parts = (size_t)batch < MOST_PARTS ? (size_t)batch : MOST_PARTS;
    while (parts > 1 && parts * m->layout.size > PART_FLOATS)
        parts--;
    if (begin_learning(m) != TB_OK)
        return TB_NO_MEMORY;
    for (size_t i = 0; i < parts; i++)
        if (!m->part[i] && !(m->part[i] = calloc(m->layout.size, sizeof(float))))
            return TB_NO_MEMORY;
    size_t threads = ready_threads(m, parts, (size_t)length, 1);
    if (threads == 0)
        return TB_NO_MEMORY;
    struct job job = {.m = m, .weights = current(m), .inputs = inputs, .targets = targets,
                      .batch = (size_t)batch, .length = (size_t)length, .parts = parts,
                      .stop = stop};
    tb_spread(m->crew, threads, parts, learn_part, &job);
    if (*stop) /* the last look: from here on the step is done */
        return TB_STOPPED;
    double loss = 0;
    for (size_t i = 0; i < parts; i++)
        loss += m->losses[i];
    result[0] = loss / ((double)batch * (double)length);
    result[1] = tb_optimizer_gather(&m->optimizer, parts, m->part);
    if (!isfinite(result[0]) || !isfinite(result[1]))
        return TB_NOT_FINITE;
    tb_optimizer_step(&m->optimizer, settings, result[1], m->weights);
    m->turned_is_old = 1;
    return TB_OK;
}

static void score_sequence(void *context, size_t thread, size_t task) {
    struct job *job = context;
    struct tb_pass *p = pass_of(job, thread);
    if (*job->stop)
        return;
    tb_forward(p, &job->weights, job->inputs + task * job->length, job->length);
    tb_losses(p, &job->weights, job->targets + task * job->length, job->length);
    for (size_t t = 0; t < job->length; t++)
        job->out[task * job->length + t] = -p->loss[t];
}

static void logits_of_sequence(void *context, size_t thread, size_t task) {
    struct job *job = context;
    struct tb_pass *p = pass_of(job, thread);
    size_t v = (size_t)job->m->layout.shape.vocab;
    float *out = job->out + task * job->length * v;
    if (*job->stop)
        return;
    tb_forward(p, &job->weights, job->inputs + task * job->length, job->length);
    for (size_t from = 0; from < job->length; from += p->head_rows) {
        size_t rest = job->length - from, rows = rest < p->head_rows ? rest : p->head_rows;
        tb_head(p, &job->weights, from, rows);
        for (size_t i = 0; i < rows; i++, out += v)
            memcpy(out, p->logits + i * p->v_row, v * sizeof(float));
    }
}

static int each_sequence(struct tb_trainer *m, struct job *job,
                         void (*work)(void *, size_t, size_t)) {
    size_t threads = ready_threads(m, job->batch, job->length, 0);
    if (threads == 0)
        return TB_NO_MEMORY;
    job->m = m;
    job->weights = current(m);
    tb_spread(m->crew, threads, job->batch, work, job);
    return *job->stop ? TB_STOPPED : TB_OK;
}

int tb_trainer_score(struct tb_trainer *m, const int32_t *inputs, const int32_t *targets,
                     int64_t batch, int64_t length, const volatile int32_t *stop, float *log_p) {
    struct job job = {.inputs = inputs, .targets = targets, .batch = (size_t)batch,
                      .length = (size_t)length, .stop = stop, .out = log_p};
    return each_sequence(m, &job, score_sequence);
}

int tb_trainer_logits(struct tb_trainer *m, const int32_t *inputs, int64_t batch, int64_t length,
                      const volatile int32_t *stop, float *logits) {
    struct job job = {.inputs = inputs, .batch = (size_t)batch, .length = (size_t)length,
                      .stop = stop, .out = logits};
    return each_sequence(m, &job, logits_of_sequence);
}
