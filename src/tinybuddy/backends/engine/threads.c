/* Threads are made once and wait: a waiting one is at work 0.03 ms after it is called, while a new
   one often begins on its maker's core and waits there for 3.4 ms (Linux 6, two cores). */
#include "threads.h"

#include <stdlib.h>

#if !defined(_WIN32) && !defined(__STDC_NO_ATOMICS__)
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct member {
    tb_thread_pool *pool;
    size_t thread;
    pthread_t handle;
} member;

struct tb_thread_pool {
    pid_t process; /* a fork has the memory but not the threads */
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    size_t call, working; /* calls so far, and who has not yet ended the latest */
    int leave;
    size_t threads, tasks; /* of this call */
    void (*work)(void *, size_t, size_t);
    void *context;
    atomic_size_t next;
    size_t members;
    member member[]; /* without the caller */
};

static void take_tasks(tb_thread_pool *pool, size_t thread) {
    for (size_t task; (task = atomic_fetch_add(&pool->next, 1)) < pool->tasks;)
        pool->work(pool->context, thread, task);
}

static void *serve(void *argument) {
    member *member = argument;
    tb_thread_pool *pool = member->pool;
    size_t done = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->call == done && !pool->leave) pthread_cond_wait(&pool->begin, &pool->lock);
        if (pool->leave) break;
        done = pool->call;
        pthread_mutex_unlock(&pool->lock);
        if (member->thread < pool->threads) take_tasks(pool, member->thread);
        pthread_mutex_lock(&pool->lock);
        if (--pool->working == 0) pthread_cond_signal(&pool->end);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

tb_thread_pool *tb_thread_pool_new(size_t threads) {
    tb_thread_pool *pool = calloc(1, sizeof *pool + threads * sizeof *pool->member);
    if (!pool) return NULL;
    pool->process = getpid();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->begin, NULL);
    pthread_cond_init(&pool->end, NULL);
    for (; pool->members + 1 < threads; pool->members++) {
        member *member = &pool->member[pool->members];
        member->pool = pool;
        member->thread = pool->members + 1;
        if (pthread_create(&member->handle, NULL, serve, member) != 0) break;
    }
    return pool;
}

void tb_thread_pool_free(tb_thread_pool *pool) {
    if (pool && pool->process == getpid()) {
        pthread_mutex_lock(&pool->lock);
        pool->leave = 1;
        pthread_cond_broadcast(&pool->begin);
        pthread_mutex_unlock(&pool->lock);
        for (size_t i = 0; i < pool->members; i++) pthread_join(pool->member[i].handle, NULL);
        pthread_cond_destroy(&pool->begin);
        pthread_cond_destroy(&pool->end);
        pthread_mutex_destroy(&pool->lock);
    }
    free(pool);
}

void tb_thread_pool_run(tb_thread_pool *pool, size_t threads, size_t tasks,
                        void (*work)(void *, size_t, size_t), void *context) {
    const int alone = threads < 2 || tasks < 2 || !pool->members || pool->process != getpid();
    if (alone) {
        for (size_t task = 0; task < tasks; task++) work(context, 0, task);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->threads = threads;
    pool->tasks = tasks;
    pool->work = work;
    pool->context = context;
    atomic_store(&pool->next, 0);
    pool->working = pool->members;
    pool->call++;
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->lock);
    take_tasks(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->working) pthread_cond_wait(&pool->end, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

#else

struct tb_thread_pool {
    size_t threads;
};

tb_thread_pool *tb_thread_pool_new(size_t threads) {
    (void)threads; /* Windows, for one: one thread, the same numbers */
    return calloc(1, sizeof(tb_thread_pool));
}

void tb_thread_pool_free(tb_thread_pool *pool) {
    free(pool);
}

void tb_thread_pool_run(tb_thread_pool *pool, size_t threads, size_t tasks,
                        void (*work)(void *, size_t, size_t), void *context) {
    (void)pool;
    (void)threads;
    for (size_t task = 0; task < tasks; task++) work(context, 0, task);
}

#endif
