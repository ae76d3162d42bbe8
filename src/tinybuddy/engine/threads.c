/* Threads are made for each call: that costs some 20 microseconds, a step of the reference model
 * 20,000 or more, and nothing is left behind that a fork or an exit could trip over. */
#include "threads.h"

#if !defined(_WIN32)
#include <pthread.h>
#include <stdatomic.h>

enum { MOST_THREADS = 64 };

struct crew {
    size_t tasks;
    void (*work)(void *, size_t, size_t);
    void *context;
    atomic_size_t next;
};

struct member {
    struct crew *crew;
    size_t thread;
};

static void *run(void *argument) {
    struct member *member = argument;
    struct crew *crew = member->crew;
    for (size_t task; (task = atomic_fetch_add(&crew->next, 1)) < crew->tasks;)
        crew->work(crew->context, member->thread, task);
    return NULL;
}

void tb_spread(size_t threads, size_t tasks, void (*work)(void *, size_t, size_t), void *context) {
    struct crew crew = {tasks, work, context, 0};
    struct member members[MOST_THREADS];
    pthread_t handles[MOST_THREADS];
    if (threads > MOST_THREADS)
        threads = MOST_THREADS;
    if (threads > tasks)
        threads = tasks;
    size_t started = 1;
    for (; started < threads; started++) {
        members[started] = (struct member){&crew, started};
        if (pthread_create(&handles[started], NULL, run, &members[started]) != 0)
            break;
    }
    members[0] = (struct member){&crew, 0};
    run(&members[0]);
    for (size_t i = 1; i < started; i++)
        pthread_join(handles[i], NULL);
}

#else

void tb_spread(size_t threads, size_t tasks, void (*work)(void *, size_t, size_t), void *context) {
    (void)threads; /* Windows: one thread, the same numbers */
    for (size_t task = 0; task < tasks; task++)
        work(context, 0, task);
}

#endif
