/* The weights are cut into spans at fixed places, and each span's sum of squares joins the norm in
   order, so that no number depends on which thread computed what. */
#include "optimizer.h"

#include "memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SPAN = 16384 }; /* 64 KB of each of the buffers */

static void cut(void *context, const tb_place *m, tb_weight_kind kind) {
    tb_optimizer *o = context;
    size_t size = m->rows * m->stride;
    for (size_t done = 0; done < size; done += SPAN) {
        if (o->span)
            o->span[o->spans] =
                (tb_span){m->at + done, size - done < SPAN ? size - done : SPAN, kind};
        o->spans++;
    }
}

int tb_optimizer_make(tb_optimizer *o, const tb_layout *l, tb_thread_pool *pool, size_t threads,
                      int with_muon) {
    memset(o, 0, sizeof *o);
    o->size = l->size;
    o->pool = pool;
    o->threads = threads;
    tb_layout_visit(l, cut, o); /* counts */
    o->span = calloc(o->spans, sizeof *o->span);
    o->squares = calloc(o->spans, sizeof *o->squares);
    o->gradient = tb_floats_new(l->size);
    o->mean = tb_floats_new(l->size);
    o->square = tb_floats_new(l->size);
    if (!o->span || !o->squares || !o->gradient || !o->mean || !o->square ||
        (with_muon && tb_muon_make(&o->muon, l, threads) != 0)) {
        tb_optimizer_free(o);
        return TB_NO_MEMORY;
    }
    o->spans = 0;
    tb_layout_visit(l, cut, o);
    return TB_OK;
}

void tb_optimizer_free(tb_optimizer *o) {
    free(o->span);
    free(o->squares);
    tb_floats_free(o->gradient);
    tb_floats_free(o->mean);
    tb_floats_free(o->square);
    tb_muon_free(&o->muon);
    memset(o, 0, sizeof *o);
}

typedef struct gathering {
    tb_optimizer *o;
    size_t parts;
    float *const *part;
} gathering;

static void gather(void *context, size_t thread, size_t task) {
    gathering *g = context;
    tb_span s = g->o->span[task];
    (void)thread;
    g->o->squares[task] = tb_reduce(s.size, g->parts, g->part, s.at, g->o->gradient);
}

double tb_optimizer_gather(tb_optimizer *o, size_t parts, float *const *part) {
    gathering g = {o, parts, part};
    double squares = 0;
    tb_thread_pool_run(o->pool, o->threads, o->spans, gather, &g);
    for (size_t i = 0; i < o->spans; i++) squares += o->squares[i];
    return sqrt(squares);
}

typedef struct stepping {
    tb_optimizer *o;
    tb_adamw_settings kind[3]; /* by tb_weight_kind */
    tb_muon_settings muon;
    float *weights;
} stepping;

static void step(void *context, size_t thread, size_t task) {
    stepping *s = context;
    tb_optimizer *o = s->o;
    if (task < o->muon.count) {
        tb_muon_step(&o->muon, task, thread, &s->muon, o->gradient, o->mean, s->weights);
        return;
    }
    tb_span span = o->span[task - o->muon.count];
    if (span.kind == TB_HIDDEN && o->muon.count) return;
    tb_adamw(span.size, &s->kind[span.kind], s->weights + span.at, o->gradient + span.at,
             o->mean + span.at, o->square + span.at);
}

void tb_optimizer_step(tb_optimizer *o, const tb_optimizer_settings *s, double norm,
                       float *weights) {
    o->steps++;
    double clip = s->clip / (norm + 1e-6); /* as torch.nn.utils.clip_grad_norm_ */
    tb_adamw_settings plain = {
        .keep = 1.0f,
        .clip = (float)(clip < 1 ? clip : 1),
        .beta1 = (float)s->beta1,
        .beta2 = (float)s->beta2,
        .rest1 = (float)(1 - s->beta1),
        .rest2 = (float)(1 - s->beta2),
        .eps = (float)s->eps,
        .step_size = (float)(s->learning_rate / (1 - pow(s->beta1, (double)o->steps))),
        .root_correction = (float)sqrt(1 - pow(s->beta2, (double)o->steps)),
    };
    tb_muon_settings muon = {
        .keep = (float)(1 - s->matrix_learning_rate * s->weight_decay),
        .clip = plain.clip,
        .momentum = (float)s->momentum,
        .rate = (float)s->matrix_learning_rate,
    };
    stepping all = {o, {plain, plain, plain}, muon, weights};
    all.kind[TB_HIDDEN].keep = (float)(1 - s->learning_rate * s->weight_decay);
    all.kind[TB_EMBEDDING].keep = (float)(1 - s->learning_rate * s->embedding_decay);
    tb_thread_pool_run(o->pool, o->threads, o->muon.count + o->spans, step, &all);
}
