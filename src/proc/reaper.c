/* proc/reaper.c: who has ended, and who is told.
 *
 * In adopt mode all children are ours and SIGCHLD is too. Signals coalesce, so one means "wait until there is nothing
 * to wait for": one loop over waitpid(-1). Spawns happen in worker threads, so a short-lived child may be reaped before
 * its watch arrives on the loop. The last statuses that nobody wanted are kept in a ring for that; a stored status is
 * trusted only while its pid is no child of ours (else the pid was used again). The report then comes from a timer of
 * zero, never from inside watch.
 *
 * In a host program neither the signal nor the other children are our business: each watched child has a pidfd, which
 * the loop polls and by which it is waited for. The spawn made it together with the child, so it never means another
 * process. When the program takes the status away (it waits for all children, or ignores SIGCHLD) the kernel still
 * tells it through the pidfd since Linux 6.15; before that the end is told with PROC_STATUS_UNKNOWN. Without pidfds
 * (before Linux 5.3) the signal has to do there too, and each watched pid is asked.
 *
 * Watches hang in a hash by pid, and a handler may add and remove any of them while it runs. */
#include "proc/reaper.h"

#include "proc/roots.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUCKETS = 256, UNCLAIMED_MAX = 1024, REAP_BURST = 4096 };

struct watch {
	struct watch *next;
	pid_t pid;
	bool ended; /* status is known and will be told by the timer */
	int status;
	proc_exit_fn fn;
	void *arg;
	struct proc_reaper *reaper;
	int pidfd; /* -1: none, the signal tells */
	uv_poll_t poll;
};

struct unclaimed {
	pid_t pid;
	int status;
};

struct proc_reaper {
	uv_signal_t sigchld;
	uv_timer_t late; /* tells what had ended before it was watched; also goes on after a full burst */
	unsigned open_handles;
	bool adopt;
	bool burst_left;
	bool signalled;	  /* SIGCHLD is ours */
	size_t n_watches; /* only while there are some does the signal handle keep the loop alive */
	struct watch *buckets[BUCKETS];
	struct unclaimed unclaimed[UNCLAIMED_MAX];
	size_t n_unclaimed;
};

static struct watch **slot_of(struct proc_reaper *r, pid_t pid)
{
	struct watch **at = &r->buckets[(unsigned)pid % BUCKETS];
	while (*at && (*at)->pid != pid)
		at = &(*at)->next;
	return at;
}

static void count_watch(struct proc_reaper *r, bool more)
{
	r->n_watches += more ? 1 : (size_t)-1;
	if (r->n_watches == 0)
		uv_unref((uv_handle_t *)&r->sigchld);
	else
		uv_ref((uv_handle_t *)&r->sigchld);
}

static void on_closed(uv_handle_t *handle)
{
	struct proc_reaper *r = handle->data;
	if (--r->open_handles == 0)
		free(r);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;
	handle->data = w->reaper;
	on_closed(handle);
	free(w);
}

/* It is in no chain any more. */
static void watch_free(struct watch *w)
{
	if (w->pidfd < 0) {
		free(w);
		return;
	}
	uv_poll_stop(&w->poll); /* before the close, or epoll would keep the number */
	close(w->pidfd);
	uv_close((uv_handle_t *)&w->poll, on_poll_closed);
}

static bool tell(struct proc_reaper *r, pid_t pid, int status)
{
	struct watch **at = slot_of(r, pid), *w = *at;
	if (!w)
		return false;
	*at = w->next;
	proc_exit_fn fn = w->fn;
	void *arg = w->arg;
	watch_free(w);
	count_watch(r, false);
	fn(arg, pid, status);
	return true;
}

static void keep_unclaimed(struct proc_reaper *r, pid_t pid, int status)
{
	r->unclaimed[r->n_unclaimed++ % UNCLAIMED_MAX] = (struct unclaimed){pid, status};
}

static bool take_unclaimed(struct proc_reaper *r, pid_t pid, int *ret_status)
{
	size_t n = r->n_unclaimed < UNCLAIMED_MAX ? r->n_unclaimed : UNCLAIMED_MAX;
	bool found = false;
	for (size_t i = 1; i <= n; i++) { /* youngest first; older ones of the same pid are forgotten */
		struct unclaimed *u = &r->unclaimed[(r->n_unclaimed - i) % UNCLAIMED_MAX];
		if (u->pid != pid)
			continue;
		if (!found)
			*ret_status = u->status;
		found = true;
		u->pid = 0;
	}
	return found;
}

static void on_late(uv_timer_t *timer);

/* Bounded a turn, so that a bomb of dying orphans can't hold the loop. */
static void reap_all(struct proc_reaper *r)
{
	r->burst_left = false;
	for (int i = 0; i < REAP_BURST; i++) {
		int status;
		pid_t pid = proc_roots_wait(-1, &status);
		if (pid == -EINTR)
			continue;
		if (pid <= 0)
			return;
		if (!tell(r, pid, status))
			keep_unclaimed(r, pid, status);
	}
	r->burst_left = true;
	uv_timer_start(&r->late, on_late, 0, 0);
}

/* Somebody else in the program has waited for it. */
static void set_lost(struct watch *w)
{
	w->status = PROC_STATUS_UNKNOWN;
	proc_roots_lost(w->pid);
}

/* A told handler may change any chain, so the pids are listed before anyone is told. */
static void reap_watched(struct proc_reaper *r)
{
	for (size_t b = 0; b < BUCKETS; b++) {
		for (struct watch *w = r->buckets[b]; w; w = w->next) {
			if (w->ended || w->pidfd >= 0)
				continue;
			pid_t pid = proc_roots_wait(w->pid, &w->status);
			if (pid == -ECHILD)
				set_lost(w);
			if (pid == w->pid || pid == -ECHILD) {
				w->ended = true;
				r->burst_left = true;
			}
		}
	}
	if (r->burst_left)
		on_late(&r->late);
}

static struct watch *next_ended(struct proc_reaper *r)
{
	for (size_t b = 0; b < BUCKETS; b++)
		for (struct watch *w = r->buckets[b]; w; w = w->next)
			if (w->ended)
				return w;
	return NULL;
}

static void on_late(uv_timer_t *timer)
{
	struct proc_reaper *r = timer->data;
	bool more = r->burst_left;
	r->burst_left = false;
	struct watch *w;
	while ((w = next_ended(r)) != NULL)
		tell(r, w->pid, w->status);
	if (more && r->adopt && !uv_is_closing((uv_handle_t *)timer))
		reap_all(r);
}

static void on_sigchld(uv_signal_t *handle, int signum)
{
	(void)signum;
	struct proc_reaper *r = handle->data;
	if (r->adopt)
		reap_all(r);
	else
		reap_watched(r);
}

static int listen_to_signal(struct proc_reaper *r)
{
	if (r->signalled)
		return 0;
	int e = uv_signal_start(&r->sigchld, on_sigchld, SIGCHLD);
	r->signalled = e == 0;
	if (r->n_watches == 0)
		uv_unref((uv_handle_t *)&r->sigchld);
	return e;
}

struct proc_reaper *proc_reaper_new(uv_loop_t *loop, bool adopt_orphans)
{
	struct proc_reaper *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->adopt = adopt_orphans;
	if (uv_signal_init(loop, &r->sigchld) < 0) { /* leaves nothing on the loop when it fails */
		free(r);
		return NULL;
	}
	uv_timer_init(loop, &r->late);
	r->sigchld.data = r->late.data = r;
	r->open_handles = 2;
	uv_unref((uv_handle_t *)&r->sigchld);
	if (adopt_orphans && listen_to_signal(r) < 0) {
		proc_reaper_free(r);
		return NULL;
	}
	if (adopt_orphans) {
		proc_roots_set_adopting();
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		reap_all(r); /* children may have ended before there was a handler */
	}
	return r;
}

void proc_reaper_free(struct proc_reaper *r)
{
	if (!r)
		return;
	for (size_t b = 0; b < BUCKETS; b++) {
		while (r->buckets[b]) {
			struct watch *w = r->buckets[b];
			r->buckets[b] = w->next;
			watch_free(w);
		}
	}
	uv_close((uv_handle_t *)&r->sigchld, on_closed);
	uv_close((uv_handle_t *)&r->late, on_closed);
}

static void on_pidfd(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct proc_reaper *r = w->reaper;
	(void)status, (void)events;
	pid_t got = w->ended ? 0 : proc_roots_wait_pidfd(w->pidfd, w->pid, &w->status);
	if (got == w->pid || got == -ECHILD)
		tell(r, w->pid, w->status);
}

/* 0: polled, or known to have ended; else a negative errno. */
static int watch_by_pidfd(struct proc_reaper *r, struct watch *w)
{
	w->pidfd = proc_roots_take_pidfd(w->pid);
	if (w->pidfd < 0)
		w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	if (w->pidfd < 0 && errno == ESRCH) {
		w->ended = true;
		set_lost(w);
		return 0;
	}
	if (w->pidfd < 0)
		return -errno;
	int e = uv_poll_init(r->sigchld.loop, &w->poll, w->pidfd);
	if (e < 0) {
		close(w->pidfd);
		w->pidfd = -1;
		return e;
	}
	w->poll.data = w;
	r->open_handles++;
	return uv_poll_start(&w->poll, UV_READABLE, on_pidfd);
}

/* Its SIGCHLD may have come before there was a watch to ask for. */
static int watch_by_signal(struct proc_reaper *r, struct watch *w)
{
	int e = listen_to_signal(r);
	pid_t got = e < 0 ? 0 : proc_roots_wait(w->pid, &w->status);
	w->ended = got == w->pid || got == -ECHILD;
	if (got == -ECHILD)
		set_lost(w);
	return e;
}

int proc_reaper_watch(struct proc_reaper *r, pid_t pid, proc_exit_fn fn, void *arg)
{
	struct watch *w = malloc(sizeof *w);
	if (!w)
		return -ENOMEM;
	*w = (struct watch){.pid = pid, .fn = fn, .arg = arg, .reaper = r, .pidfd = -1};
	if (r->adopt && take_unclaimed(r, pid, &w->status)) {
		siginfo_t info;
		w->ended = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
	} else if (!r->adopt && watch_by_pidfd(r, w) < 0) {
		int e = w->pidfd < 0 ? watch_by_signal(r, w) : -ENOMEM;
		if (e < 0) {
			watch_free(w);
			return e;
		}
	}
	w->next = r->buckets[(unsigned)pid % BUCKETS];
	r->buckets[(unsigned)pid % BUCKETS] = w;
	count_watch(r, true);
	if (w->ended)
		uv_timer_start(&r->late, on_late, 0, 0);
	return 0;
}

void proc_reaper_unwatch(struct proc_reaper *r, pid_t pid)
{
	struct watch **at = slot_of(r, pid), *w = *at;
	if (w) {
		*at = w->next;
		watch_free(w);
		count_watch(r, false);
	}
}
