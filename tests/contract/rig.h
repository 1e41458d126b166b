/* tests/contract/rig.h: one runtime of each kind for the same cases.
 *
 * A case is written against the headers alone. What only a real shell can answer is queued on the dummy beforehand
 * (canned), so that the case's assertions hold there too; cases with REAL need commands that really run. */
#ifndef TESTS_CONTRACT_RIG_H
#define TESTS_CONTRACT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/remote_rig.h"
#include <crex/crex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { KIND_DUMMY, KIND_LOCAL, KIND_REMOTE };

struct contract_case;

struct contract {
	enum kind kind;
	const struct contract_case *test;
	struct crex_runtime *rt;
	struct rig_server server; /* of the remote kind */
	char home[64];		  /* an empty directory of this case's */
	char mark[32];		  /* a number that no other process of the machine has in its command line */
	struct crex_error err;	  /* of the last call */
	struct crex_observation obs;
};

enum { ANY = 0, REAL = 1 << 0, LOCAL_ONLY = 1 << 1, REMOTE_ONLY = 1 << 2 };

struct contract_case {
	const char *name;
	void (*run)(struct contract *c);
	unsigned needs;
};

extern const struct contract_case session_cases[], call_cases[], file_cases[], end_cases[],
	stream_cases[]; /* end with a NULL name */

struct crex_runtime *contract_runtime(struct contract *c);	 /* one more of the kind; the caller's to free */
const char *contract_path(struct contract *c, const char *name); /* below home; one of sixteen */

/* The next answer of a dummy; nothing on others. */
void canned(struct contract *c, const char *output, size_t len, int exit_code);
void canned_error(struct contract *c, enum crex_error_code code, const char *message, const char *const *extras);

void create(struct contract *c, const char *session);
/* Into c->obs, else c->err. */
int run(struct contract *c, const char *session, const char *command, enum crex_check check);
int run_action(struct contract *c, const struct crex_bash_action *action);
void expect_run(struct contract *c, const char *command, const char *output, int exit_code); /* in "s" */
struct crex_bash_action action_of(const char *command);					     /* in "s", silent */
char *shell(struct contract *c, const char *script); /* what an execute prints; the caller's to free. REAL */

/* "sleep MARK" with the case's mark in the word's place; one of sixteen. */
const char *marked(const struct contract *c, const char *command);
size_t marked_processes(const struct contract *c);
void wait_for_marked(const struct contract *c, size_t wanted);
void wait_for_file(const char *path);
size_t open_fds(void);

void fails_with(const struct contract *c, int r, enum crex_error_code code, const char *file, int line);
#define FAILS(c, call, code) fails_with((c), (call), (code), __FILE__, __LINE__)
void succeeds(const struct contract *c, int r, const char *file, int line);
#define OK(c, call) succeeds((c), (call), __FILE__, __LINE__)

#endif
