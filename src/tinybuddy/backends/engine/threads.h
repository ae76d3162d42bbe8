/* Tasks spread over threads. */
#ifndef TB_THREADS_H
#define TB_THREADS_H

#include <stddef.h>

/* Threads that wait for tasks. */
struct tb_crew;

/* A crew of `threads`, of which whoever calls is one; NULL without memory. */
struct tb_crew *tb_crew_new(size_t threads);
void tb_crew_free(struct tb_crew *crew);

/* Calls work(context, thread, task) once for every task below tasks, on at most threads threads of
 * the crew, of which the caller is thread 0. What a task computes must not depend on its thread:
 * that is scratch memory alone. Where no further thread could be had, fewer do the work. */
void tb_spread(struct tb_crew *crew, size_t threads, size_t tasks,
               void (*work)(void *context, size_t thread, size_t task), void *context);

#endif
