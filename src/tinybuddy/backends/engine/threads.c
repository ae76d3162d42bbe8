/* Threads are made once and wait: a waiting one is at work 0.03 ms after it is called, while a new
 * one often begins on its maker's core and waits there for 3.4 ms (Linux 6, two cores). */
#include "threads.h"

#include <stdlib.h>

#if !defined(_WIN32)
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

struct member {
    struct tb_crew *crew;
    size_t thread;
    pthread_t handle;
};

struct tb_crew {
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
    struct member member[]; /* without the caller */
};

static void take_tasks(struct tb_crew *crew, size_t thread) {
    for (size_t task; (task = atomic_fetch_add(&crew->next, 1)) < crew->tasks;)
        crew->work(crew->context, thread, task);
}

static void *serve(void *argument) {
    struct member *member = argument;
    struct tb_crew *crew = member->crew;
    size_t done = 0;
    pthread_mutex_lock(&crew->lock);
    for (;;) {
        while (crew->call == done && !crew->leave)
            pthread_cond_wait(&crew->begin, &crew->lock);
        if (crew->leave)
            break;
        done = crew->call;
        pthread_mutex_unlock(&crew->lock);
        if (member->thread < crew->threads)
            take_tasks(crew, member->thread);
        pthread_mutex_lock(&crew->lock);
        if (--crew->working == 0)
            pthread_cond_signal(&crew->end);
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

struct tb_crew *tb_crew_new(size_t threads) {
    struct tb_crew *crew = calloc(1, sizeof *crew + threads * sizeof *crew->member);
    if (!crew)
        return NULL;
    crew->process = getpid();
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->begin, NULL);
    pthread_cond_init(&crew->end, NULL);
    for (; crew->members + 1 < threads; crew->members++) {
        struct member *member = &crew->member[crew->members];
        member->crew = crew;
        member->thread = crew->members + 1;
        if (pthread_create(&member->handle, NULL, serve, member) != 0)
            break;
    }
    return crew;
}

void tb_crew_free(struct tb_crew *crew) {
    if (crew && crew->process == getpid()) {
        pthread_mutex_lock(&crew->lock);
        crew->leave = 1;
        pthread_cond_broadcast(&crew->begin);
        pthread_mutex_unlock(&crew->lock);
        for (size_t i = 0; i < crew->members; i++)
            pthread_join(crew->member[i].handle, NULL);
        pthread_cond_destroy(&crew->begin);
        pthread_cond_destroy(&crew->end);
        pthread_mutex_destroy(&crew->lock);
    }
    free(crew);
}

void tb_spread(struct tb_crew *crew, size_t threads, size_t tasks,
               void (*work)(void *, size_t, size_t), void *context) {
    const int alone = threads < 2 || tasks < 2 || !crew->members || crew->process != getpid();
    if (alone) {
        for (size_t task = 0; task < tasks; task++)
            work(context, 0, task);
        return;
    }
    pthread_mutex_lock(&crew->lock);
    crew->threads = threads;
    crew->tasks = tasks;
    crew->work = work;
    crew->context = context;
    atomic_store(&crew->next, 0);
    crew->working = crew->members;
    crew->call++;
    pthread_cond_broadcast(&crew->begin);
    pthread_mutex_unlock(&crew->lock);
    take_tasks(crew, 0);
    pthread_mutex_lock(&crew->lock);
    while (crew->working)
        pthread_cond_wait(&crew->end, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

#else

struct tb_crew {
    size_t threads;
};

struct tb_crew *tb_crew_new(size_t threads) {
    (void)threads; /* Windows: one thread, the same numbers */
    return calloc(1, sizeof(struct tb_crew));
}

void tb_crew_free(struct tb_crew *crew) {
    free(crew);
}

void tb_spread(struct tb_crew *crew, size_t threads, size_t tasks,
               void (*work)(void *, size_t, size_t), void *context) {
    (void)crew;
    (void)threads;
    for (size_t task = 0; task < tasks; task++)
        work(context, 0, task);
}

#endif
