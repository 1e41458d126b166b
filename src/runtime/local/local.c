/* runtime/local/local.c: the engine object: its birth, its holds, its end.
 *
 * The parts (sessions, executions, files) know nothing of each other; what they share is the loop, the limits, the
 * reaper and the count of things under way. Shutting down asks each part to end what it has; the engine frees itself
 * when the last hold is gone, never before, so that no callback of a worker or a handle finds freed memory.
 *
 * In a host program orphans don't come to us. So all that an engine starts is of one group, and when nothing is under
 * way any more, what still bears that is ended: daemons of commands and sessions that were over long ago. */
#include "runtime/local/internal.h"

#include "proc/origin.h"
#include "proc/roots.h"
#include "proc/tree.h"
#include <stdlib.h>

struct local *local_new(uv_loop_t *loop, const struct local_config *config)
{
	struct local *rt = calloc(1, sizeof *rt);
	if (!rt)
		return NULL;
	rt->loop = loop;
	rt->config = *config;
	buf_init(&rt->scratch, 1 << 20);
	rt->group = config->adopt_orphans ? 0 : proc_origin_new_group();
	rt->born = proc_roots_now();
	rt->reaper = proc_reaper_new(loop, config->adopt_orphans);
	if (!rt->reaper) {
		free(rt);
		return NULL;
	}
	return rt;
}

void local_hold(struct local *rt)
{
	rt->holds++;
}

static void kill_the_rest(uv_work_t *work)
{
	const struct local *rt = work->data;
	proc_tree_kill_group(rt->group, rt->born);
}

static void on_swept(uv_work_t *work, int status)
{
	(void)status;
	local_release(work->data);
}

/* False: there is nothing to wait for. */
static bool sweep(struct local *rt)
{
	if (rt->group == 0 || rt->swept)
		return false;
	rt->swept = true;
	rt->sweep.data = rt;
	local_hold(rt);
	uv_queue_work(rt->loop, &rt->sweep, kill_the_rest, on_swept); /* fails without a callback alone */
	return true;
}

void local_release(struct local *rt)
{
	if (--rt->holds > 0 || !rt->closing || sweep(rt))
		return;
	void (*closed)(void *arg) = rt->closed;
	void *arg = rt->closed_arg;
	proc_reaper_free(rt->reaper);
	buf_deinit(&rt->scratch);
	free(rt);
	closed(arg);
}

void local_shutdown(struct local *rt, void (*closed)(void *arg), void *arg)
{
	rt->closing = true;
	rt->closed = closed;
	rt->closed_arg = arg;
	local_hold(rt); /* the parts may release everything before they return */
	local_sessions_shutdown(rt);
	local_execs_shutdown(rt);
	local_streams_shutdown(rt);
	local_release(rt);
}

void local_get_stats(const struct local *rt, struct local_stats *ret)
{
	*ret = (struct local_stats){.sessions = rt->n_sessions, .executions = rt->n_execs};
}
