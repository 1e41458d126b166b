/* runtime/local/session.h: one bash on one pty, as the session*.c files share it.
 *
 *   session.c            birth, end, the registry by name
 *   session_start.c      the worker job that makes pty, memfd and bash
 *   session_io.c         terminal bytes in and out
 *   session_job.c        an action: taken in, queued, answered
 *   session_run.c        starting the next action, and its timeout
 *   session_prompt.c     what the shell's reports do: the state machine
 *   session_output.c     output on its way to a reply, expect strings
 *   session_syntax.c     a command that bash could not parse
 *   session_interrupt.c  the interrupt and its escalation
 *   session_end.c        what everybody is told when the shell is gone
 *
 * All on the loop's thread except the worker job. */
#ifndef RUNTIME_LOCAL_SESSION_H
#define RUNTIME_LOCAL_SESSION_H

#include "base/keep.h"
#include "proc/tree.h"
#include "runtime/local/expect.h"
#include "runtime/local/internal.h"
#include "runtime/local/scanner.h"
#include "runtime/local/shell.h"
#include "text/clean.h"
#include "wire/wire.h"

enum session_state {
	SESSION_STARTING, /* bash reads its startup files; ends with the first E */
	SESSION_IDLE,	  /* bash is at its prompt and its state is known */
	SESSION_RUNNING,  /* a command's line was typed; `current` may be NULL when its client has its reply already */
	SESSION_SETTLING, /* the command has ended; bash reports its state (report_due) and goes to its prompt */
	SESSION_RECOVERING, /* the command was given up in the middle; our clean-up line was typed */
	SESSION_ENDING,	    /* off the registry; its processes are being killed */
};

/* One queued or running action. Owned by its session from local_run_in_session until its reply. */
struct session_job {
	struct session_job *next;
	struct crex_bash_action req; /* strings point into store; session and expect are not kept */
	char *store;
	struct expect *expect;
	local_session_fn done;
	void *arg;
};

/* What the `step` timer is set for. */
enum session_step {
	STEP_NONE,
	STEP_PROMPT_WAIT, /* E or S came, P or the report did not yet */
	STEP_DOUBT,	  /* P came while a command runs: is it the prompt or something that looks so? */
	STEP_INTERRUPT,	  /* the next try of an interrupt */
};

struct session_interrupt {
	local_session_fn done; /* NULL: none under way */
	void *arg;
	double timeout;
	double left; /* until the next signal */
	bool signalled;
	int quiet_looks;
	int shell_looks;
	int tries_left;
	int kills;
	int recovery_looks;
	struct expect *expect;
};

struct session {
	struct session *next;
	struct local *rt;
	char *name; /* owned; any bytes */
	size_t name_len;
	enum session_state state;
	int refs; /* open handles, worker jobs, the registry */

	pid_t pid; /* 0 until spawned */
	int master, memfd, report_fd;
	struct proc_tree_mark tty; /* the slave: who holds it belongs to this tree */
	uv_poll_t poll;		   /* on master */
	uv_timer_t timer;	   /* of the current action, or of the start */
	uv_timer_t step;	   /* the next step of an interrupt, the wait for a prompt, the doubt about one */
	bool handles_open;

	struct scanner scan;
	struct text_clean clean;
	struct keep out;   /* cleaned output since the last reply */
	struct buf window; /* the newest cleaned output, only while an expect is looked for */
	size_t window_seen;
	struct buf report; /* what has come through the pipe for this command */
	struct buf tx;	   /* what the terminal didn't take yet */
	size_t idle_len;   /* of out when the last prompt came */
	struct shell_state shell;
	size_t text_len;  /* of what stands in the memfd */
	const char *line; /* the line that makes bash read it */
	char *rcfile;	  /* owned; a temporary startup file that is still to be removed, or NULL */

	bool prompt_seen;   /* P has come since the last E */
	int prompt_number;  /* of the last P */
	bool promptless;    /* the last prompt never showed: the user has redirected the shell's stderr */
	bool report_due;    /* SETTLING: a command has run, so that the shell's state may be another */
	bool cut_short;	    /* SETTLING: our own words were given up */
	bool traps_removed; /* the text that runs takes DEBUG and ERR traps away */
	bool recovery_typed;
	int recoveries;	  /* since the command was typed */
	int settle_ticks; /* waits of SETTLING that have passed */
	bool drop_output; /* what comes is of our own making or of a command that was given up */
	bool tty_was_odd; /* at the last E: bash may have met an end of file at its prompt */
	bool sigint_sent; /* since the last command was typed */
	bool sigint_late; /* it was sent for the command before, and may have met bash at its prompt */
	bool output_came; /* since the doubt arose */
	int hijack_stage; /* 0: none; 1: the line against it was typed; 2: our own line was typed again */
	int abort_status; /* $? of the command that was given up */
	enum session_step step_kind;
	int doubt_ticks;
	char doubted[SCAN_REPORT_MAX]; /* the bytes that looked like a prompt, given out when they were none */
	size_t n_doubted;
	int doubted_number;
	bool doubted_newline; /* a newline has followed them, and nothing else */

	struct session_job *current;
	struct session_job *queue, **queue_tail;
	size_t n_queue;
	char *running_text; /* repr of the command in the foreground, for messages when current is NULL; owned */
	struct session_interrupt intr;

	local_session_fn create_done;
	void *create_arg;
	double startup_timeout;

	/* the end */
	bool exited, killed, kill_pending, was_closed;
	int exit_status;
	struct session_closer *closers;
};

struct session_closer {
	struct session_closer *next;
	local_done_fn done;
	void *arg;
};

/* session.c */
struct session *session_find(struct local *rt, struct crex_str name);
void session_ref(struct session *s);
void session_unref(struct session *s);
void session_end(struct session *s); /* idempotent: kills the tree; replies follow when all is dead */
void session_make_nonce(char nonce[NONCE_LEN + 1]);

void session_started(struct session *s, struct crex_error *err); /* by session_start.c; err NULL: bash runs */

/* session_start.c */
int session_start(struct session *s, const struct crex_str_list *startup_source); /* 0 or negative errno */

/* session_io.c */
void session_io_start(struct session *s);
void session_io_drain(struct session *s); /* reads what is there, without waiting */
void session_read_report(struct session *s);
void session_write(struct session *s, const char *data, size_t len);
void session_type_line(struct session *s); /* the line for the text that was stored */
bool session_store_text(struct session *s, const struct buf *text);
void session_on_text(struct session *s, const char *text, size_t len); /* raw, without reports */
bool session_at_prompt(const struct session *s);		       /* bash is in the foreground and sleeps */

/* session_end.c */
void session_reply_dead(struct session *s); /* the shell has ended: everybody gets his answer */

/* session_syntax.c */
void session_on_abort(struct session *s, int status, bool not_started); /* S */

/* session_job.c */
#define SESSION_PROMPT_EXPECT "SHELLPS1PREFIX" /* the expect_string of a command that came to its end, as upstream */
#define SESSION_ENDED_REASON WIRE_SESSION_ENDED
void session_job_free(struct session_job *job);
void session_job_fail(struct session_job *job, struct crex_error *err); /* replies and frees */
void session_job_reply(struct session_job *job,
		       struct crex_observation *obs); /* applies `check`, replies, frees both */
struct session_job *session_take_current(struct session *s);
struct session_job *session_pop_job(struct session *s); /* the queue must not be empty */
void session_take_output(struct session *s, struct crex_observation *obs);
void session_strip_echo(const struct session_job *job, struct crex_observation *obs);
void session_reply_current(struct session *s, int status); /* the command came to its end */

/* session_run.c */
void session_pump(struct session *s); /* starts the next action if one can be started */

/* session_prompt.c */
#define SESSION_PROMPT_WAIT 0.05		    /* seconds that a prompt which was announced may take */
void session_on_end(struct session *s, int status); /* E */
void session_on_promptless(struct session *s);	    /* N */
void session_on_prompt(struct session *s, const struct scan_event *ev); /* P */
void session_give_up(struct session *s, int status);			/* starts the recovery */
void session_set_step(struct session *s, enum session_step kind, double seconds);

/* session_output.c */
void session_on_output(struct session *s, const char *text, size_t len); /* cleaned */

/* session_interrupt.c */
void session_interrupt_step(struct session *s);
void session_interrupt_reply(struct session *s, const char *expect_string);

#endif
