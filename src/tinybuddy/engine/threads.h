/* Tasks spread over threads. */
#ifndef TB_THREADS_H
#define TB_THREADS_H

#include <stddef.h>

/* Calls work(context, thread, task) once for every task below tasks, on at most threads threads of
 * which the caller is one (thread 0). What a task computes must not depend on its thread: that is
 * scratch memory alone. Where no further thread can be had, fewer do the work. */
void tb_spread(size_t threads, size_t tasks, void (*work)(void *context, size_t thread, size_t task),
               void *context);

#endif
