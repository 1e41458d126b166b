/* proc/tree.c: killing a tree that does not want to die.
 *
 * Two stages. First everything is stopped: a stopped process neither forks nor reaps, so its pid stays its own, and
 * a fork bomb that fills the process table can't refill it. Scan and stop repeat until a scan finds nobody new. Then
 * everything is killed, scan after scan, until two in a row find nothing alive (one scan may miss a process that was
 * born behind its back). The root itself is stopped first and killed last: alive it keeps adopting, so that the tree
 * stays one tree. Zombies count as dead; whose they are is for their parents.
 *
 * When the root has ended, its children have become ours (or whose subreaper's below we are), among those of other
 * trees. Taken are: members of its session and its process group; orphans that bear its mark (origin.h) or hold a file
 * which only this tree was given (the pipe of an execution); where marks can't be had, orphans that can have come from
 * no other root (roots.h); and all below these. When in doubt a process is left alone: never is one of another tree
 * killed.
 *
 * A group (origin.h) has no root: whoever bears it is taken, and all below. These are children of others, who may reap
 * them at any time, so they are signalled by descriptors, after another look at what the descriptor means. Each is
 * stopped as it is found. One that does nothing but hand itself on to a child may still escape, for a while or for
 * good.
 *
 * A scan follows the lists of children below the root, or when that has ended below those orphans of ours that may be
 * its (orphans.h), so that a kill costs what its own tree is worth and hundreds of them at once don't read all of /proc
 * each. A large tree, a kernel without such lists, and ended roots where orphans don't come to us or bear no marks get
 * scans of everything. The root's own list is complete in the last round: it is stopped, and whoever was on the way to
 * it in the round before, when nobody else was alive, has arrived. With orphans the last round is one in which all that
 * were listed had been dead before: what these had left was in the list.
 *
 * Signals are sent under the lock of roots.h, so that no direct child's pid can change its meaning on the way. Nothing
 * is read from /proc under it: the loop's reaper waits for it. */
#include "proc/tree.h"

#include "base/cleanup.h"
#include "proc/origin.h"
#include "proc/orphans.h"
#include "proc/roots.h"
#include "proc/scan.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_NS UINT64_C(8000000000)
#define SCAN_RETRY_NS UINT64_C(300000000)
enum { STOP_ROUNDS_MAX = 64, CLEAN_ROUNDS = 2, QUIET_ROUNDS = 10, PAUSE_MIN_NS = 50000, PAUSE_MAX_NS = 5000000 };
enum { NARROW_MAX = 256, ROUNDS_BEFORE_HASTE = 8 };

struct killer {
	pid_t self;
	pid_t root;	    /* 0: everything below this process, or the group */
	uint64_t root_mark; /* 0: unknown */
	uint64_t group;	    /* 0: none */
	uint64_t since;	    /* no member of the group is older */
	bool missed;	    /* who might be of the group has ended before it could be known */
	bool keep_root;
	const struct proc_tree_mark *marks;
	size_t n_marks;
	struct proc_scan now, before;
	uint32_t *stack; /* owned; indexes into now.items */
	size_t stack_cap, depth;
	bool root_alive;
	struct proc_orphans orphans;
	bool narrow;	 /* scans show what is below the root only */
	bool ended;	 /* ... or in its place what is below orphans */
	bool large;	 /* the tree was too large for that */
	bool all_marked; /* whoever is of a tree bears its mark */
	bool marks_read;
	int n_killed;
};

static void killer_deinit(struct killer *k)
{
	proc_scan_deinit(&k->now);
	proc_scan_deinit(&k->before);
	proc_orphans_deinit(&k->orphans);
	free(k->stack);
}

static uint64_t monotonic(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void pause_ns(long ns)
{
	nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* Needs the lock. A root that is no longer ours to signal (reaped, or never registered and no child) is not alive. */
static bool root_is_alive(const struct killer *k)
{
	const struct proc_stat *s = proc_scan_find(&k->now, k->root);
	if (!s || !proc_stat_is_alive(s))
		return false;
	enum proc_root_state state = proc_roots_state(k->root);
	return state == PROC_ROOT_ALIVE || (state == PROC_ROOT_UNKNOWN && s->ppid == k->self);
}

static bool signal_root(const struct killer *k, int sig)
{
	proc_roots_lock();
	enum proc_root_state state = proc_roots_state(k->root);
	siginfo_t info;
	bool ours = state == PROC_ROOT_ALIVE || (state == PROC_ROOT_UNKNOWN &&
						 waitid(P_PID, (id_t)k->root, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
	bool sent = ours && kill(k->root, sig) == 0;
	proc_roots_unlock();
	return sent;
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool holds_file(const struct killer *k, pid_t pid)
{
	if (k->n_marks == 0)
		return false;
	char path[32];
	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	__attribute__((cleanup(cleanup_dir))) DIR *dir = opendir(path);
	if (!dir)
		return false;
	struct dirent *e;
	while ((e = readdir(dir)) != NULL) {
		struct stat st;
		if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, 0) < 0)
			continue;
		for (size_t i = 0; i < k->n_marks; i++)
			if (st.st_dev == k->marks[i].dev && st.st_ino == k->marks[i].ino)
				return true;
	}
	return false;
}

static enum proc_relation relation_of(const struct killer *k, pid_t pid)
{
	uint64_t mark = proc_origin_read(pid);
	if (mark != 0)
		return mark == k->root_mark ? PROC_RELATION_OWN : PROC_RELATION_OTHER;
	return holds_file(k, pid) ? PROC_RELATION_OWN : PROC_RELATION_UNKNOWN;
}

static bool bears_group(const struct killer *k, pid_t pid)
{
	return proc_origin_group(proc_origin_read(pid)) == k->group;
}

static bool is_unreaped(void *arg, pid_t pid)
{
	const struct killer *k = arg;
	const struct proc_stat *s = proc_scan_find(&k->now, pid);
	return !s || !proc_stat_is_alive(s);
}

static void push(struct killer *k, struct proc_stat *s)
{
	if (s->member || s->pid == k->self || s->pid == 1)
		return;
	s->member = true;
	k->stack[k->depth++] = (uint32_t)(s - k->now.items);
}

static void push_children(struct killer *k, const struct proc_stat *s)
{
	for (uint32_t i = s->first_child; i; i = k->now.items[i - 1].next_sibling)
		push(k, &k->now.items[i - 1]);
}

static void push_group(struct killer *k)
{
	for (size_t i = 0; i < k->now.n; i++)
		if (k->now.items[i].relation == PROC_RELATION_OWN)
			push(k, &k->now.items[i]);
}

static bool is_orphan(const struct killer *k, const struct proc_stat *s)
{
	return s->ppid == k->self && s->pid != k->root && !proc_roots_is_root(s->pid, s->start);
}

static void push_orphans(struct killer *k)
{
	/* A session's number is given to no new process while the session has members, so a living process of that
	 * number that is not our root says that all of them are gone and their names reused. */
	const struct proc_stat *namesake = proc_scan_find(&k->now, k->root);
	bool reused = namesake && proc_stat_is_alive(namesake);
	for (size_t i = 0; i < k->now.n; i++) {
		struct proc_stat *s = &k->now.items[i];
		if (!reused && s->pid != k->root && (s->sid == k->root || s->pgrp == k->root))
			push(k, s);
		if (s->relation == PROC_RELATION_OWN)
			push(k, s);
	}
	if (!proc_roots_adopting() || k->all_marked)
		return;
	/* Whatever was born after an orphan of doubtful origin is doubtful too: it may be a child of that. */
	uint64_t doubtful = UINT64_MAX;
	for (size_t i = 0; i < k->now.n; i++) {
		struct proc_stat *s = &k->now.items[i];
		/* PID 1 inherits also from whoever was put into its namespace from outside. */
		if (k->self == 1 && s->ppid == 0 && s->pid != 1 && s->start < doubtful)
			doubtful = s->start;
		if (s->member || !is_orphan(k, s) || s->start >= doubtful)
			continue;
		if (s->relation == PROC_RELATION_OTHER || !proc_roots_claims(k->root, s->start, is_unreaped, k))
			doubtful = s->start;
	}
	for (size_t i = 0; i < k->now.n; i++) {
		struct proc_stat *s = &k->now.items[i];
		if (!s->member && s->start < doubtful && is_orphan(k, s))
			push(k, s);
	}
}

/* A process that has changed its limit is known by its parent alone: its number has to do, as in a tree. */
static bool signal_member(const struct killer *k, const struct proc_stat *s, int sig)
{
	if (k->group == 0 || s->relation != PROC_RELATION_OWN)
		return kill(s->pid, sig) == 0;
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
	if (pidfd < 0)
		return errno != ESRCH && kill(s->pid, sig) == 0;
	/* whom the descriptor means lives on only if it is the one whose mark was read */
	return bears_group(k, s->pid) && syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) == 0;
}

/* Stopped in the moment in which it is found: it may be about to hand on what it does to a child, and end. */
static void on_found(void *arg, struct proc_stat *s)
{
	struct killer *k = arg;
	if (s->start < k->since || !proc_stat_is_alive(s))
		return;
	s->relation = PROC_RELATION_OWN;
	if (signal_member(k, s, SIGSTOP) || bears_group(k, s->pid))
		return;
	s->relation = PROC_RELATION_UNKNOWN;
	if (kill(s->pid, 0) < 0 && errno == ESRCH)
		k->missed = true;
}

/* Takes the lock for moments only: there may be hundreds of orphans, with hundreds of files. Where orphans don't come
 * to us they may be anybody's children by now. */
static void read_marks(struct killer *k)
{
	if (k->group != 0) {
		k->now.unresolved = k->missed; /* marks tell members without their parents */
		return;
	}
	proc_roots_lock();
	bool needed = k->root != 0 && !root_is_alive(k), adopting = proc_roots_adopting();
	uint64_t start = 0;
	k->root_mark = 0;
	proc_roots_identity(k->root, &k->root_mark, &start);
	proc_roots_unlock();
	k->marks_read = needed && (!k->narrow || k->ended);
	if (k->marks_read)
		k->all_marked = proc_origin_usable();
	for (size_t i = 0; k->marks_read && i < k->now.n; i++) {
		struct proc_stat *s = &k->now.items[i];
		if (s->start < start || (adopting && s->ppid != k->self))
			continue;
		proc_roots_lock();
		bool candidate = adopting ? is_orphan(k, s) : !proc_roots_is_root(s->pid, s->start);
		proc_roots_unlock();
		if (candidate)
			s->relation = relation_of(k, s->pid);
	}
}

/* Needs the lock. Marks every member of the tree but its living root. False: the root has ended just now, and this
 * scan can't show what it left. */
static bool find_members(struct killer *k)
{
	k->depth = 0;
	k->root_alive = k->root != 0 && root_is_alive(k);
	if (k->root != 0 && !k->root_alive && !k->marks_read)
		return false;
	const struct proc_stat *top = proc_scan_find(&k->now, k->root_alive ? k->root : k->self);
	if (k->group != 0)
		push_group(k);
	else if (k->root_alive || k->root == 0)
		push_children(k, top);
	else
		push_orphans(k);
	for (size_t i = 0; i < k->now.n; i++)
		if (k->now.items[i].carried)
			push(k, &k->now.items[i]); /* whatever has become of its parents */
	while (k->depth > 0)
		push_children(k, &k->now.items[k->stack[--k->depth]]);
	return true;
}

/* Whoever is seen dead for the first time may have left children to us since the list was made. */
static bool left_none(const struct killer *k, pid_t orphan)
{
	const struct proc_stat *s = proc_scan_find(&k->now, orphan);
	if (!s || proc_stat_is_alive(s))
		return s != NULL;
	const struct proc_stat *was = proc_scan_find(&k->before, orphan);
	return was && was->start == s->start && !proc_stat_is_alive(was);
}

static int look_below_orphans(struct killer *k)
{
	int r = proc_orphans_list(&k->orphans, k->root_mark);
	size_t n = k->orphans.n;
	if (r == 0)
		r = proc_orphans_add(&k->orphans, k->root); /* whose number may have been used again */
	if (r == 0)
		r = proc_scan_read_below(&k->now, k->orphans.items, k->orphans.n, NARROW_MAX);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!left_none(k, k->orphans.items[i]))
			k->now.unresolved = true;
	return r;
}

static int look_narrowly(struct killer *k)
{
	return k->ended ? look_below_orphans(k) : proc_scan_read_below(&k->now, &k->root, 1, NARROW_MAX);
}

/* Whether what the root has left can be told by a look at our own orphans. */
static bool orphans_tell(struct killer *k)
{
	uint64_t start;
	proc_roots_lock();
	bool known = proc_roots_adopting() && proc_roots_identity(k->root, &k->root_mark, &start);
	proc_roots_unlock();
	int ours = 0;
	return known && prctl(PR_GET_CHILD_SUBREAPER, &ours) == 0 && ours && proc_origin_usable();
}

static int look(struct killer *k, bool all_stopped)
{
	struct proc_scan swap = k->before;
	k->before = k->now;
	k->now = swap;
	uint64_t give_up = monotonic() + SCAN_RETRY_NS;
	for (;;) {
		k->missed = false;
		int r = k->narrow ? look_narrowly(k) : proc_scan_read(&k->now, all_stopped ? &k->before : NULL);
		/* Shortage passes, often just because of us: the tree that we kill is what eats everything. */
		bool shortage = r == -EMFILE || r == -ENFILE || r == -ENOMEM;
		if (k->narrow && r < 0 && !shortage) {
			k->narrow = false;
			k->large = k->large || r == -E2BIG;
			continue;
		}
		if (r < 0 && !(shortage && monotonic() < give_up))
			return r;
		if (r == 0 && k->stack_cap < k->now.n) {
			uint32_t *grown = realloc(k->stack, k->now.cap * sizeof *grown);
			if (grown) {
				k->stack = grown;
				k->stack_cap = k->now.cap;
			} else if (monotonic() >= give_up) {
				return -ENOMEM;
			} else {
				r = -ENOMEM;
			}
		}
		if (r == 0)
			return 0;
		pause_ns(1000000);
	}
}

struct round {
	size_t alive; /* members that live and can be signalled */
	size_t fresh; /* among them those that the scan before has not shown */
};

static struct round signal_members(struct killer *k, bool kill_them)
{
	struct round round = {0, 0};
	for (size_t i = 0; i < k->now.n; i++) {
		struct proc_stat *s = &k->now.items[i];
		if (!s->member || !proc_stat_is_alive(s))
			continue;
		const struct proc_stat *was = proc_scan_find(&k->before, s->pid);
		bool known = was && was->member && was->start == s->start;
		s->killed = known && was->killed;
		if (!kill_them && known) {
			round.alive++;
			continue;
		}
		if (!signal_member(k, s, kill_them ? SIGKILL : SIGSTOP))
			continue; /* gone, or not ours to signal: waiting for it would be in vain */
		round.alive++;
		round.fresh += !known;
		if (kill_them && !s->killed) {
			s->killed = true;
			k->n_killed++;
		}
	}
	return round;
}

/* A tree to be killed may own every processor: this thread then needs its share. Fails without privilege, no matter.
 * Not for just any tree, or a few of these threads would keep the loop from its processor. */
static void make_haste(bool *hasty)
{
	if (!*hasty)
		setpriority(PRIO_PROCESS, (id_t)gettid(), -20);
	*hasty = true;
}

static void restore_nice(const int *nice_value)
{
	setpriority(PRIO_PROCESS, (id_t)gettid(), *nice_value);
}

static int sweep(struct killer *k)
{
	__attribute__((cleanup(restore_nice), unused)) int nice_value = getpriority(PRIO_PROCESS, (id_t)gettid());
	uint64_t give_up = monotonic() + LIMIT_NS;
	bool kill_them = false, hasty = false;
	/* what a mark tells needs no second look */
	int rounds = 0, stop_rounds = 0, clean = 0, quiet = 0, clean_rounds = k->group != 0 ? 1 : CLEAN_ROUNDS;
	long pause = PAUSE_MIN_NS;
	k->narrow = k->root != 0 && proc_scan_lists_children();
	while (clean < clean_rounds && quiet < QUIET_ROUNDS && monotonic() < give_up) {
		int r = look(k, !kill_them);
		if (r < 0)
			return r;
		if (k->large || ++rounds > ROUNDS_BEFORE_HASTE)
			make_haste(&hasty);
		read_marks(k);
		proc_roots_lock();
		if (!find_members(k)) {
			proc_roots_unlock();
			k->narrow = k->narrow && !k->ended && orphans_tell(k);
			k->ended = k->narrow;
			continue;
		}
		struct round round = signal_members(k, kill_them);
		/* Nobody new: what was stopped is all there is, and dies in this same round. */
		if (!kill_them && round.alive > 0 && (round.fresh == 0 || ++stop_rounds == STOP_ROUNDS_MAX)) {
			kill_them = true;
			round = signal_members(k, true);
		}
		proc_roots_unlock();
		if (round.alive == 0) {
			quiet++; /* parents that /proc hides from us (hidepid) would leave it unresolved for ever */
			clean = k->now.unresolved ? 0 : clean + 1;
			continue;
		}
		clean = quiet = 0;
		if (kill_them) {
			pause_ns(pause);
			pause = pause * 2 > PAUSE_MAX_NS ? PAUSE_MAX_NS : pause * 2;
		}
	}
	return 0;
}

int proc_tree_kill_marked(pid_t root, bool keep_root, const struct proc_tree_mark *marks, size_t n_marks)
{
	if (root <= 1 || root == getpid())
		return -EINVAL;
	__attribute__((cleanup(killer_deinit))) struct killer k = {
		.self = getpid(), .root = root, .keep_root = keep_root, .marks = marks, .n_marks = n_marks};
	signal_root(&k, SIGSTOP);
	int r = sweep(&k);
	if (r < 0 && !keep_root) {
		proc_roots_lock();
		if (proc_roots_state(root) != PROC_ROOT_ENDED)
			kill(-root, SIGKILL);
		proc_roots_unlock();
	}
	bool sent = signal_root(&k, keep_root ? SIGCONT : SIGKILL);
	if (r < 0)
		return r;
	return k.n_killed + (sent && k.root_alive && !keep_root);
}

int proc_tree_kill(pid_t root, bool keep_root)
{
	return proc_tree_kill_marked(root, keep_root, NULL, 0);
}

int proc_tree_kill_all(void)
{
	__attribute__((cleanup(killer_deinit))) struct killer k = {.self = getpid()};
	int r = sweep(&k);
	return r < 0 ? r : k.n_killed;
}

int proc_tree_kill_group(uint64_t group, uint64_t since)
{
	/* /proc rounds a start down to a tick, and its clock's may be one behind */
	uint64_t slack = UINT64_C(20000000);
	__attribute__((cleanup(killer_deinit))) struct killer k = {
		.self = getpid(), .group = group, .since = since > slack ? since - slack : 0};
	k.now.found = k.before.found = on_found;
	k.now.found_arg = k.before.found_arg = &k;
	int r = proc_origin_usable() ? sweep(&k) : 0;
	return r < 0 ? r : k.n_killed;
}

struct job {
	uv_work_t work;
	pid_t root;
	bool keep_root;
	struct proc_tree_mark marks[PROC_TREE_MARKS_MAX];
	size_t n_marks;
	int result;
	proc_tree_done_fn done;
	void *arg;
};

static void run_job(uv_work_t *work)
{
	struct job *job = work->data;
	job->result = proc_tree_kill_marked(job->root, job->keep_root, job->marks, job->n_marks);
}

static void job_over(uv_work_t *work, int status)
{
	struct job *job = work->data;
	proc_tree_done_fn done = job->done;
	void *arg = job->arg;
	int result = status < 0 ? status : job->result;
	free(job);
	done(arg, result);
}

int proc_tree_kill_marked_async(uv_loop_t *loop, pid_t root, bool keep_root, const struct proc_tree_mark *marks,
				size_t n_marks, proc_tree_done_fn done, void *arg)
{
	if (n_marks > PROC_TREE_MARKS_MAX)
		return -EINVAL;
	struct job *job = malloc(sizeof *job);
	if (!job)
		return -ENOMEM;
	*job = (struct job){.root = root, .keep_root = keep_root, .n_marks = n_marks, .done = done, .arg = arg};
	if (n_marks)
		memcpy(job->marks, marks, n_marks * sizeof *marks);
	job->work.data = job;
	int r = uv_queue_work(loop, &job->work, run_job, job_over);
	if (r < 0)
		free(job);
	return r;
}

int proc_tree_kill_async(uv_loop_t *loop, pid_t root, bool keep_root, proc_tree_done_fn done, void *arg)
{
	return proc_tree_kill_marked_async(loop, root, keep_root, NULL, 0, done, arg);
}
