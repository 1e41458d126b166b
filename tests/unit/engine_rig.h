/* engine_rig.h: the engine in this process, on a loop that the test turns until an answer is there, with faults
 * injected into the calls that session*.c makes (linked with --wrap). */
#ifndef TESTS_ENGINE_RIG_H
#define TESTS_ENGINE_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "runtime/local/local.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rig_faults {
	atomic_int fail_alloc;	 /* the n-th allocation from now on fails; 0: none */
	atomic_int random_short; /* bytes that one getrandom gives at most, every second call EINTR; 0: all */
	atomic_int no_memfd;	 /* memfd_create fails with ENOSYS */
	atomic_int no_proc_fd;	 /* access says that /proc/self/fd isn't there */
	atomic_int allocs, randoms, memfds, accesses; /* calls seen */
};
extern struct rig_faults rig_faults;

/* One request and its answer. */
struct answer {
	bool done;
	enum crex_error_code code;
	char *message, *extra_output; /* of an error */
	char *output;		      /* NUL-terminated copy */
	size_t output_len;
	bool has_exit_code;
	int exit_code;
	char *expect_string;
	char *failure_reason;
	bool truncated, ended;
};

struct rig {
	uv_loop_t loop;
	struct local *rt;
	bool closed;
	uv_timer_t deadline;
	bool late;
	char home[64];
	char env_home[80];
	char *envp[8];
	struct answer answers[64]; /* handed out in turn */
	size_t n_answers;
	size_t max_output, max_queue, max_sessions; /* for rig_start; 0: large */
};

/* cmocka setup and teardown of each case: an engine and an empty home; no process, no descriptor may be left. */
int rig_begin(void **state);
int rig_end(void **state);
void rig_shutdown(struct rig *r); /* of the engine alone; waits until it is gone */
void rig_restart(struct rig *r);  /* with the limits that stand in r */

/* Turns the loop until `*flag`; fails the test after `seconds`. */
void rig_wait(struct rig *r, const bool *flag, double seconds);
bool rig_wait_quietly(struct rig *r, const bool *flag, double seconds); /* false: too late */
/* Turns the loop until there is nothing to do or `seconds` have passed. */
void rig_turn(struct rig *r, double seconds);

struct answer *rig_new_answer(struct rig *r);
struct answer *rig_create_start(struct rig *r, const char *name, double timeout, const char *source);
struct answer *rig_create(struct rig *r, const char *name); /* must succeed */

struct run {
	const char *session; /* NULL: "s" */
	double timeout;	     /* 0: 20 s, which fails the test's intention loudly */
	bool interactive, quit;
	enum crex_check check; /* 0 is RAISE; rig_run uses SILENT */
	const char *expect[3];
};
struct answer *rig_start_run(struct rig *r, const char *command, size_t len, struct run opt);
struct answer *rig_run_opt(struct rig *r, const char *command, struct run opt);
struct answer *rig_run(struct rig *r, const char *command); /* session "s", check silent; waits for any answer */
struct answer *rig_interrupt_start(struct rig *r, double timeout, int tries);
struct answer *rig_interrupt(struct rig *r); /* 0.1 s, 3 tries */
struct answer *rig_close(struct rig *r, const char *name);

/* Runs and compares output and exit code. */
#define RUN(command, want_output, want_code) rig_check(r, __FILE__, __LINE__, (command), (want_output), (want_code))
void rig_check(struct rig *r, const char *file, int line, const char *command, const char *output, int code);

/* Processes whose command line has this text; a fresh one for each test. */
size_t rig_count(const char *text);
void rig_wait_count(struct rig *r, const char *text, size_t want, double seconds);
void rig_write_home(struct rig *r, const char *name, const char *text);

#endif
