/* proc/scan.c: reading /proc.
 *
 * A scan is no snapshot: processes come, go and change parents while it runs. The reader therefore says when it has
 * seen a process whose parent it has not, so that the caller looks again before he concludes anything from an absence.
 *
 * A look at one tree follows the kernel's lists of children, one a thread. They say only whom to look at: what is
 * below whom is taken from the processes' own word on their parents, as in a full scan, so a pid that is used again in
 * between becomes no member. A list may leave out somebody who changes parents meanwhile, as a full scan may.
 *
 * The name of a process may hold blanks, brackets and newlines, so fields are counted from the last bracket. Threads
 * never show up. Kernels list /proc in ascending order; that is checked, and sorted if it ever isn't so. */
#include "proc/scan.h"

#include "base/cleanup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIELDS_AFTER_NAME = 20 }; /* state is the first, starttime the last of them */

/* One decimal field; signed, since tpgid may be -1. False at the end of the text or on anything else. */
static bool next_number(const char **at, const char *end, int64_t *ret)
{
	const char *p = *at;
	while (p < end && *p == ' ')
		p++;
	bool negative = p < end && *p == '-';
	if (negative)
		p++;
	if (p == end || *p < '0' || *p > '9')
		return false;
	uint64_t value = 0;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	if (p == end || (*p != ' ' && *p != '\n'))
		return false; /* the number itself may be cut */
	*ret = negative ? -(int64_t)(value & INT64_MAX) : (int64_t)(value & INT64_MAX);
	*at = p;
	return true;
}

bool proc_stat_parse(const char *text, size_t len, struct proc_stat *ret)
{
	const char *end = text + len, *at = text;
	int64_t pid;
	if (!next_number(&at, end, &pid) || end - at < 2 || at[1] != '(')
		return false;
	const char *close = memrchr(at, ')', (size_t)(end - at));
	if (!close || end - close < 3 || close[1] != ' ')
		return false;
	struct proc_stat s = {.pid = (pid_t)pid, .state = close[2]};
	at = close + 3;
	for (int field = 2; field <= FIELDS_AFTER_NAME; field++) {
		int64_t value;
		if (!next_number(&at, end, &value))
			return false;
		switch (field) {
		case 2: s.ppid = (pid_t)value; break;
		case 3: s.pgrp = (pid_t)value; break;
		case 4: s.sid = (pid_t)value; break;
		case 18: s.threads = (int)value; break;
		case FIELDS_AFTER_NAME: s.start = (uint64_t)value * UINT64_C(10000000); break; /* USER_HZ is 100 */
		default: break;
		}
	}
	*ret = s;
	return true;
}

static int add(struct proc_scan *scan, const struct proc_stat *s)
{
	if (scan->n == scan->cap) {
		size_t cap = scan->cap ? scan->cap * 2 : 256;
		struct proc_stat *grown = realloc(scan->items, cap * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		scan->items = grown;
		scan->cap = cap;
	}
	scan->items[scan->n++] = *s;
	return 0;
}

static bool shortage(int errnum)
{
	return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM;
}

/* 1: read; 0: the process has ended meanwhile; or a negative errno. */
static int read_one(int proc, const char *name, struct proc_stat *ret)
{
	char path[32], text[1024];
	snprintf(path, sizeof path, "%.20s/stat", name);
	cleanup_fd int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return shortage(errno) ? -errno : 0;
	size_t len = 0;
	while (len < sizeof text) {
		ssize_t n = read(fd, text + len, sizeof text - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return 0;
		len += (size_t)n;
		if (n == 0 || proc_stat_parse(text, len, ret))
			break;
	}
	return proc_stat_parse(text, len, ret);
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = ((const struct proc_stat *)a)->pid, y = ((const struct proc_stat *)b)->pid;
	return (x > y) - (x < y);
}

struct proc_stat *proc_scan_find(const struct proc_scan *scan, pid_t pid)
{
	size_t low = 0, high = scan->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (scan->items[mid].pid < pid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < scan->n && scan->items[low].pid == pid ? &scan->items[low] : NULL;
}

static void link_children(struct proc_scan *scan)
{
	const pid_t self = getpid(); /* whose parent is no matter */
	scan->unresolved = false;
	for (size_t i = 0; i < scan->n; i++) {
		struct proc_stat *s = &scan->items[i];
		struct proc_stat *parent = s->ppid > 0 ? proc_scan_find(scan, s->ppid) : NULL;
		if (parent) {
			s->next_sibling = parent->first_child;
			parent->first_child = (uint32_t)(i + 1);
		} else if (s->ppid > 0 && s->pid != self) {
			scan->unresolved = true;
		}
	}
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool carry(const struct proc_scan *stopped, const char *name, struct proc_stat *ret)
{
	const struct proc_stat *was = stopped ? proc_scan_find(stopped, (pid_t)strtol(name, NULL, 10)) : NULL;
	if (!was || !was->member || !proc_stat_is_alive(was))
		return false;
	*ret = *was;
	ret->member = false;
	ret->first_child = ret->next_sibling = 0;
	ret->carried = true;
	return true;
}

int proc_scan_read(struct proc_scan *scan, const struct proc_scan *stopped)
{
	scan->n = 0;
	__attribute__((cleanup(cleanup_dir))) DIR *dir = opendir("/proc");
	if (!dir)
		return -errno;
	bool sorted = true;
	struct dirent *e;
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		struct proc_stat s;
		bool carried = carry(stopped, e->d_name, &s);
		int r = carried ? 1 : read_one(dirfd(dir), e->d_name, &s);
		if (r == 0)
			continue;
		if (r > 0 && !carried && scan->found)
			scan->found(scan->found_arg, &s);
		sorted = sorted && (scan->n == 0 || scan->items[scan->n - 1].pid < s.pid);
		r = r < 0 ? r : add(scan, &s);
		if (r < 0)
			return r;
	}
	if (!sorted)
		qsort(scan->items, scan->n, sizeof *scan->items, by_pid);
	if (!proc_scan_find(scan, getpid()))
		return -ENOSYS;
	link_children(scan);
	return 0;
}

bool proc_scan_lists_children(void)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)getpid(), (int)getpid());
	return access(path, R_OK) == 0;
}

/* Linear, which for the sizes that this is meant for is the fastest. */
static int look_at(struct proc_scan *scan, int proc, pid_t pid, size_t max)
{
	for (size_t i = 0; i < scan->n; i++)
		if (scan->items[i].pid == pid)
			return 0;
	char name[16];
	snprintf(name, sizeof name, "%d", (int)pid);
	struct proc_stat s;
	int r = read_one(proc, name, &s);
	if (r <= 0)
		return r;
	return scan->n == max ? -E2BIG : add(scan, &s);
}

/* Tells the children of one thread. Stops at the first negative result. */
static int list_children(int proc, pid_t pid, pid_t tid, int (*each)(void *arg, pid_t child), void *arg)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "%d/task/%d/children", (int)pid, (int)tid);
	cleanup_fd int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	pid_t child = 0;
	for (;;) {
		ssize_t n = read(fd, text, sizeof text);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				child = child * 10 + (text[i] - '0');
				continue;
			}
			int r = child > 0 ? each(arg, child) : 0;
			child = 0;
			if (r < 0)
				return r;
		}
	}
}

/* What another process or a thread of it does not tell any more, since it has ended, is nothing. */
static int unless_ended(int r)
{
	return r == -E2BIG || shortage(-r) ? r : 0;
}

static int list_all_children(int proc, pid_t pid, int (*each)(void *arg, pid_t child), void *arg)
{
	const bool own = pid == getpid();
	char path[32];
	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	__attribute__((cleanup(cleanup_dir))) DIR *dir = opendir(path);
	if (!dir)
		return own ? -errno : unless_ended(-errno);
	int r = 0;
	struct dirent *e;
	while (r >= 0 && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		r = list_children(proc, pid, (pid_t)strtol(e->d_name, NULL, 10), each, arg);
		r = own ? r : unless_ended(r);
	}
	return r;
}

struct below {
	struct proc_scan *scan;
	int proc;
	size_t max;
};

static int on_child(void *arg, pid_t child)
{
	const struct below *b = arg;
	return look_at(b->scan, b->proc, child, b->max);
}

static int look_below(struct below *b, const struct proc_stat *s)
{
	if (!proc_stat_is_alive(s))
		return 0;
	return unless_ended(s->threads <= 1 ? list_children(b->proc, s->pid, s->pid, on_child, b)
					    : list_all_children(b->proc, s->pid, on_child, b));
}

int proc_scan_read_below(struct proc_scan *scan, const pid_t *tops, size_t n_tops, size_t max)
{
	scan->n = 0;
	cleanup_fd int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return -errno;
	struct below b = {scan, proc, max};
	bool from_self = false;
	int r = look_at(scan, proc, getpid(), max);
	if (r == 0 && scan->n == 0)
		r = -ENOSYS;
	for (size_t i = 0; r == 0 && i < n_tops; i++) {
		from_self = from_self || tops[i] == getpid();
		r = look_at(scan, proc, tops[i], max);
	}
	for (size_t i = from_self ? 0 : 1; r >= 0 && i < scan->n; i++) {
		struct proc_stat s = scan->items[i]; /* the array may move */
		r = look_below(&b, &s);
	}
	if (r < 0)
		return r;
	qsort(scan->items, scan->n, sizeof *scan->items, by_pid);
	link_children(scan);
	return 0;
}

int proc_scan_list_own(int (*each)(void *arg, pid_t child), void *arg)
{
	cleanup_fd int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return proc < 0 ? -errno : list_all_children(proc, getpid(), each, arg);
}

void proc_scan_deinit(struct proc_scan *scan)
{
	free(scan->items);
	*scan = (struct proc_scan){0};
}
