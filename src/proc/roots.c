/* proc/roots.c: the process's table of tree roots.
 *
 * Living roots are in a growing array (as many as there are children), ended ones in a ring of fixed size, which is
 * only needed to attribute orphans. An orphan's origin must have been alive when the orphan was born; when exactly
 * one ended root was, and nothing but a root can have borne it, the orphan is that root's. What else could have borne
 * it: another orphan, which is there still (tree.c looks) or was reaped in between; or a root that the ring has
 * forgotten. In each of these cases the answer is no: an orphan too many may live on, a process of another tree is
 * never killed.
 *
 * Times: /proc gives starts in ticks of 10 ms (rounded down), we note ours in ns before the clone and after the reap,
 * by the same clock; a birth may be anywhere in its tick, and what is possible speaks against a claim.
 *
 * The lock is held for a few system calls at most, never across a blocking one. */
#include "proc/roots.h"

#include "proc/origin.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ENDED_MAX = 1024 };
#define TICK_NS UINT64_C(10000000)

struct root {
	int64_t id;
	uint64_t group;
	pid_t pid; /* 0: being cloned */
	const pid_t *early;
	uint64_t start, end;
	int pidfd; /* owned; -1: none, or taken */
};

/* <linux/pidfd.h> as of Linux 6.15; older headers lack it. */
struct pidfd_info {
	uint64_t mask, cgroup;
	uint32_t ids[11];
	int32_t exit_code;
};
#define PIDFD_GET_INFO_V0 _IOWR(0xFF, 11, struct pidfd_info)
#define PIDFD_INFO_EXIT_V0 (UINT64_C(1) << 3)

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static struct {
	pthread_mutex_t mutex;
	struct root *alive;
	size_t n_alive, cap;
	int64_t last_id;
	struct root ended[ENDED_MAX]; /* ring */
	size_t n_ended;		      /* in all; the next slot is this modulo ENDED_MAX */
	uint64_t forgotten_end;	      /* latest end among the roots that the ring has dropped */
	uint64_t orphan_reaped;	      /* when an unregistered child was last reaped */
	uint64_t n_reaped;	      /* children of any kind */
	bool adopting;
} table = {.mutex = PTHREAD_MUTEX_INITIALIZER};

uint64_t proc_roots_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

void proc_roots_lock(void)
{
	pthread_mutex_lock(&table.mutex);
}

void proc_roots_unlock(void)
{
	pthread_mutex_unlock(&table.mutex);
}

static pid_t pid_of(const struct root *r)
{
	return r->pid || !r->early ? r->pid : __atomic_load_n(r->early, __ATOMIC_ACQUIRE);
}

static struct root *find_id(int64_t id)
{
	for (size_t i = 0; i < table.n_alive; i++)
		if (table.alive[i].id == id)
			return &table.alive[i];
	return NULL;
}

static struct root *find_pid(pid_t pid)
{
	for (size_t i = 0; i < table.n_alive; i++)
		if (pid_of(&table.alive[i]) == pid)
			return &table.alive[i];
	return NULL;
}

static void drop(struct root *r)
{
	if (r->pidfd >= 0)
		close(r->pidfd);
	*r = table.alive[--table.n_alive];
}

static void end(struct root *r, pid_t pid)
{
	struct root *slot = &table.ended[table.n_ended++ % ENDED_MAX];
	if (slot->end > table.forgotten_end)
		table.forgotten_end = slot->end;
	*slot = (struct root){
		.id = r->id, .group = r->group, .pid = pid, .start = r->start, .end = proc_roots_now(), .pidfd = -1};
	drop(r);
}

int64_t proc_roots_begin(const pid_t *early, uint64_t group)
{
	proc_roots_lock();
	if (table.n_alive == table.cap) {
		size_t cap = table.cap ? table.cap * 2 : 16;
		struct root *grown = realloc(table.alive, cap * sizeof *grown);
		if (!grown) {
			proc_roots_unlock();
			return -ENOMEM;
		}
		table.alive = grown;
		table.cap = cap;
	}
	int64_t id = ++table.last_id;
	table.alive[table.n_alive++] =
		(struct root){.id = id, .group = group, .early = early, .start = proc_roots_now(), .pidfd = -1};
	proc_roots_unlock();
	return id;
}

void proc_roots_started(int64_t id, pid_t pid, int pidfd)
{
	proc_roots_lock();
	struct root *r = find_id(id);
	if (r) {
		r->pid = pid;
		r->early = NULL;
		r->pidfd = pidfd;
	} else if (pidfd >= 0) {
		close(pidfd);
	}
	proc_roots_unlock();
}

int proc_roots_take_pidfd(pid_t pid)
{
	proc_roots_lock();
	struct root *r = find_pid(pid);
	int pidfd = r ? r->pidfd : -1;
	if (r)
		r->pidfd = -1;
	proc_roots_unlock();
	return pidfd;
}

void proc_roots_cancel(int64_t id)
{
	proc_roots_lock();
	struct root *r = find_id(id);
	if (r)
		drop(r);
	proc_roots_unlock();
}

void proc_roots_reap_failed(int64_t id, pid_t pid)
{
	for (;;) {
		proc_roots_lock();
		struct root *r = find_id(id);
		/* Gone from the table: the loop's reaper was faster, and the pid may mean another process by now. */
		bool over = !r || waitpid(pid, NULL, WNOHANG) != 0;
		table.n_reaped += over;
		if (over && r)
			drop(r);
		proc_roots_unlock();
		if (over)
			return;
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
}

pid_t proc_roots_wait(pid_t which, int *ret_status)
{
	proc_roots_lock();
	int status = 0;
	pid_t pid = waitpid(which, &status, WNOHANG);
	int saved = errno;
	if (pid > 0) {
		table.n_reaped++;
		struct root *r = find_pid(pid);
		if (r)
			end(r, pid);
		else
			table.orphan_reaped = proc_roots_now();
		*ret_status = status;
	}
	proc_roots_unlock();
	return pid < 0 ? -saved : pid;
}

void proc_roots_lost(pid_t pid)
{
	proc_roots_lock();
	struct root *r = find_pid(pid);
	if (r)
		end(r, pid);
	proc_roots_unlock();
}

static int status_of(const siginfo_t *info)
{
	if (info->si_code == CLD_EXITED)
		return (info->si_status & 0xff) << 8;
	return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

/* The kernel keeps the status behind the descriptor when the process itself is gone. */
static int late_status(int pidfd)
{
	struct pidfd_info info = {.mask = PIDFD_INFO_EXIT_V0};
	return ioctl(pidfd, PIDFD_GET_INFO_V0, &info) == 0 && info.mask & PIDFD_INFO_EXIT_V0 ? info.exit_code
											     : PROC_STATUS_UNKNOWN;
}

pid_t proc_roots_wait_pidfd(int pidfd, pid_t pid, int *ret_status)
{
	siginfo_t info = {0};
	proc_roots_lock();
	int r = waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG), errnum = errno;
	bool ended = r == 0 ? info.si_pid != 0 : errnum == ECHILD;
	struct root *root = ended ? find_pid(pid) : NULL;
	table.n_reaped += ended;
	if (ended)
		*ret_status = r == 0 ? status_of(&info) : late_status(pidfd);
	if (root)
		end(root, pid);
	proc_roots_unlock();
	if (r < 0 && errnum == EINVAL) /* Linux 5.3 has pidfds, but no waiting by them */
		return proc_roots_wait(pid, ret_status);
	return r < 0 ? -errnum : ended ? pid : 0;
}

void proc_roots_set_adopting(void)
{
	proc_roots_lock();
	table.adopting = true;
	proc_roots_unlock();
}

bool proc_roots_adopting(void)
{
	return table.adopting;
}

static const struct root *find_ended(pid_t pid)
{
	const struct root *found = NULL;
	for (size_t i = 0; i < ENDED_MAX && i < table.n_ended; i++)
		if (table.ended[i].pid == pid && (!found || table.ended[i].id > found->id))
			found = &table.ended[i]; /* the youngest bearer of a reused pid */
	return found;
}

enum proc_root_state proc_roots_state(pid_t root)
{
	if (find_pid(root))
		return PROC_ROOT_ALIVE;
	return find_ended(root) ? PROC_ROOT_ENDED : PROC_ROOT_UNKNOWN;
}

bool proc_roots_identity(pid_t root, uint64_t *ret_mark, uint64_t *ret_start)
{
	const struct root *r = find_pid(root);
	if (!r)
		r = find_ended(root);
	if (!r)
		return false;
	*ret_mark = proc_origin_mark(r->group, r->id);
	*ret_start = r->start - r->start % TICK_NS;
	return true;
}

uint64_t proc_roots_reaped(void)
{
	return table.n_reaped;
}

size_t proc_roots_pids(pid_t *ret, size_t max)
{
	size_t n = 0;
	for (size_t i = 0; i < table.n_alive && n < max; i++) {
		pid_t pid = pid_of(&table.alive[i]);
		if (pid != 0)
			ret[n++] = pid;
	}
	return n;
}

bool proc_roots_is_root(pid_t pid, uint64_t start)
{
	for (size_t i = 0; i < table.n_alive; i++) {
		const struct root *r = &table.alive[i];
		pid_t known = pid_of(r);
		if (known == pid || (known == 0 && start + TICK_NS > r->start))
			return true;
	}
	return false;
}

static bool could_bear(const struct root *r, uint64_t end_ns, uint64_t start)
{
	return r->start < start + TICK_NS && start <= end_ns;
}

bool proc_roots_claims(pid_t root, uint64_t start, bool (*unreaped)(void *arg, pid_t pid), void *arg)
{
	if (!table.adopting)
		return false;
	const struct root *own = find_pid(root);
	if (!own)
		own = find_ended(root);
	if (!own)
		return false;
	uint64_t own_end = own->end ? own->end : UINT64_MAX;
	uint64_t own_start = own->start - own->start % TICK_NS; /* as /proc rounds */
	if (start < own_start || start > own_end || (table.forgotten_end && start <= table.forgotten_end))
		return false;
	/* An orphan that was there in our time, or that ended in the tick of our start and may have borne one in it. */
	if (table.orphan_reaped >= own->start || (table.orphan_reaped >= own_start && start == own_start))
		return false;
	for (size_t i = 0; i < ENDED_MAX && i < table.n_ended; i++) {
		const struct root *r = &table.ended[i];
		if (r->id != own->id && could_bear(r, r->end, start))
			return false;
	}
	for (size_t i = 0; i < table.n_alive; i++) {
		const struct root *r = &table.alive[i];
		if (r->id != own->id && pid_of(r) && unreaped(arg, pid_of(r)) && could_bear(r, UINT64_MAX, start))
			return false;
	}
	return true;
}
