/* Tasks spread over threads. */
#ifndef TB_THREADS_H
#define TB_THREADS_H

#include <stddef.h>

/* Threads that wait for tasks. */
typedef struct tb_thread_pool tb_thread_pool;

/* A pool of `threads`, of which whoever calls is one; NULL without memory. */
tb_thread_pool *tb_thread_pool_new(size_t threads);
void tb_thread_pool_free(tb_thread_pool *pool);

/* Calls work(context, thread, task) once for every task below tasks, on at most threads threads of
   the pool, of which the caller is thread 0. What a task computes must not depend on its thread:
   that is scratch memory alone. Where no further thread could be had, fewer do the work. */
void tb_thread_pool_run(tb_thread_pool *pool, size_t threads, size_t tasks,
                        void (*work)(void *context, size_t thread, size_t task), void *context);

#endif
