/* runtime/local/shell.c: the texts of the session protocol.
 *
 * A command is never typed. It lies in a memfd that bash reads with its `read` builtin; on the terminal stands only
 * one constant line, which evals what was read. The eval'd text is one list, so that bash has parsed all of it before
 * the first word runs:
 *
 *     { <put back $?, $_, set flags, traps>
 *     <the user's command>
 *     }; { <E to the terminal; state through the pipe; take flags and traps away> } && <tidy up>
 *
 * Flags and traps (xtrace, verbose, errexit, functrace, DEBUG, ERR) are in force only while the user's command runs;
 * our own words run without them, the first of them with their trace going to the sink. The report goes through a pipe
 * rather than a file because `ulimit -f` would kill a shell that writes to one.
 *
 * The descriptors: bash inherits the pipe at 8 and the memfd at 9. To become close-on-exec they take a detour: when
 * bash redirects descriptor 0 for a group it saves the old one at the lowest free number from 10 on, close-on-exec, and
 * a duplicate made of such a saved descriptor inherits that flag. It is the only way to a private descriptor in a
 * shell that has no loadable builtins at hand; bash has done so since 3.x (redir.c, add_undo_redirect). */
#include "runtime/local/shell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Traps larger than the pipe block the shell until somebody reads. */
enum { FIELD_MAX = 1024 * 1024 };

void shell_state_init(struct shell_state *st)
{
	*st = (struct shell_state){.flags = ""};
	buf_init(&st->xtrace_fd, 16);
	buf_init(&st->trap_debug, FIELD_MAX);
	buf_init(&st->trap_err, FIELD_MAX);
}

void shell_state_deinit(struct shell_state *st)
{
	buf_deinit(&st->xtrace_fd);
	buf_deinit(&st->trap_debug);
	buf_deinit(&st->trap_err);
}

/* The constant parts, as functions that bash has parsed once: parsing them anew for every command would cost more than
 * all else. __crex_a says E, reports and takes the flags away, __crex_x looks whether all is tidy, __crex_s says S.
 * They are called by name on lines that are eval'd at the top level; the traps are told there, since inside a function
 * DEBUG and ERR can't be seen. Only those that are known are taken away there, as it costs as much as all of __crex_a;
 * a new one is when the recovery runs. If the user unsets the functions, the recovery defines them again.
 *
 * E comes first of all, since a client waits for it and for nothing of the rest. $? and $_ are those of the user's last
 * command when __crex_a begins, and its first word leaves $_ as it was, being given it as the last argument. $_ stays
 * in the shell, in a variable. `himBs` is what $- is when none of the flags that we mind is on; else __crex_f reports
 * and removes them (allexport before it would export our variable).
 *
 * bash copies a function's body, word by word, each time it calls it, so what is seldom needed stands in functions of
 * its own: __crex_f, _r, _p and _d. One comparison asks for all that must be in order.
 *
 * PS1 has its FS bytes as octal escapes, which only a prompt expands: `echo "$PS1"` prints no report. It is set
 * by printf because a user may have made it readonly: an assignment would make bash give up the list. Where stderr is
 * no terminal no prompt would reach us, and a file should not get one: N says so. What the user's program has left
 * unread on the terminal would be run as a command: it is read away. A shell that reads its commands from elsewhere
 * than the terminal (`exec <file`) would run that file: stdin is put back. The last eval in __crex_s is for bash's
 * parser, which after an unfinished [[ refuses the next [[, once. */
static int append_functions(struct buf *out, const char *session_nonce)
{
	return buf_printf(
		out,
		"__crex_a() { \\builtin printf \"\\034E$1:$?\\034%%.0s\" \"$_\" >&59; "
		"[[ $- = himBs ]] && __crex_u=$_ || __crex_f \"$_\"; "
		"! \\builtin read -rt0 -u59 || __crex_d; }\n"
		"__crex_f() { \\builtin printf \"%s:$-:%%s:\\n\" \"${BASH_XTRACEFD-}\"; \\builtin set +xveTa; "
		"__crex_u=$1; }\n"
		"__crex_d() { \\builtin read -r -d '' -t 0.01 -u 59 __crex; __crex=; }\n"
		"__crex_x() { [[ -t 0 && -t 2 && ! -o emacs && ! -o vi && ${PS1-}${PS0-}${PROMPT_COMMAND+1} = "
		"'\\034P%s:$?:\\#:\\j\\034' ]] || __crex_r; }\n"
		"__crex_r() { __crex_p 2>&57; [[ -t 2 ]] || { \\builtin printf -v PS1 '' 2>&57; "
		"\\builtin printf '\\034N%s\\034' >&59; }; \\builtin :; }\n"
		"__crex_p() { [[ -t 0 ]] || \\exec <&59; \\builtin unset -v PROMPT_COMMAND; "
		"\\builtin printf -v PS0 ''; \\builtin printf -v PS2 ''; [[ -o emacs || -o vi ]] && \\builtin set +o "
		"emacs +o vi; "
		"\\builtin printf -v PS1 %%s '\\034P%s:$?:\\#:\\j\\034'; }\n"
		"__crex_s() { \\builtin printf '\\034S%s:%%s:%%s\\034' \"$?\" \"${__crex:+1}\" >&59; "
		"\\builtin eval '[[ x ]]' 2>&57; }\n",
		session_nonce, session_nonce, session_nonce, session_nonce, session_nonce);
}

/* Its last byte occurs earlier as well: see shell_typed_line(). A word that fails shows as S, or as the prompt's
 * status. */
static int append_epilogue(struct buf *out, const char *nonce, bool remove_traps)
{
	return buf_printf(out, "{ __crex_a %s&&\\builtin trap -p%s;} >&56 2>&57&&__crex_x", nonce,
			  remove_traps ? "&&\\builtin trap - DEBUG ERR" : "");
}

/* Quoted so that a leading "~/" and "$NAME" still expand, as they do where upstream writes `source PATH`. */
static int append_source_path(struct buf *out, struct crex_str path)
{
	size_t i = 0;
	int r = buf_append_str(out, "\"");
	if (path.len >= 2 && path.ptr[0] == '~' && path.ptr[1] == '/') {
		r = r < 0 ? r : buf_append_str(out, "$HOME");
		i = 1;
	}
	for (; r == 0 && i < path.len; i++) {
		char c = path.ptr[i];
		bool opens = c == '$' && i + 1 < path.len && path.ptr[i + 1] == '(';
		if (c == '"' || c == '`' || c == '\\' || opens)
			r = buf_append_char(out, '\\');
		if (r == 0)
			r = buf_append_char(out, c);
	}
	return r < 0 ? r : buf_append_str(out, "\"");
}

int shell_append_bootstrap(struct buf *out, const char *session_nonce, const char *nonce,
			   const struct crex_str_list *startup_source)
{
	int r = buf_append_str(out, "if ((BASH_VERSINFO[0] > 3)); then \\builtin eval 'exec {__crex}<&0 {__crex_b}<&0; "
				    "exec {__crex}<&- {__crex_b}<&-'; "
				    "else __crex=10 __crex_b=11; fi\n"
				    "__crex_n='<>/dev/null'; [[ -w /dev/null ]] || __crex_n='<&9'\n"
				    "\\builtin eval \"{ exec 59<&$__crex; { exec 58<&$__crex_b; } <&1; } <&9; { { exec "
				    "56<&$__crex_b; } <&1; } <&8; "
				    "{ { exec 57<&$__crex_b; } <&1; } $__crex_n; exec 8<&- 9<&-\"\n"
				    "\\builtin unset -v __crex_b __crex_n\n"
				    "[[ -f ~/.bashrc && -r ~/.bashrc ]] && \\builtin . ~/.bashrc || \\builtin :\n");
	for (size_t i = 0; r == 0 && i < startup_source->count; i++) {
		/* `.` of a missing file ends a shell whose bashrc has `set -e`, whatever stands around it */
		r = buf_append_str(out, "if [[ -e ");
		r = r < 0 ? r : append_source_path(out, startup_source->items[i]);
		r = r < 0 ? r : buf_append_str(out, " ]]; then \\builtin . ");
		r = r < 0 ? r : append_source_path(out, startup_source->items[i]);
		r = r < 0 ? r
			  : buf_append_str(out, " || \\builtin :; else "
						"\\builtin printf 'bash: %s: No such file or directory\\n' ");
		r = r < 0 ? r : append_source_path(out, startup_source->items[i]);
		r = r < 0 ? r : buf_append_str(out, " >&2; fi\n");
	}
	if (r == 0)
		r = buf_append_str(out, "{ \\builtin set +o history +o emacs +o vi +H; \\builtin unset -v MAILCHECK; "
					"IGNOREEOF=1000; \\builtin :; } >&57 2>&57\n");
	r = r < 0 ? r : append_functions(out, session_nonce);
	r = r < 0 ? r : append_epilogue(out, nonce, true);
	return r < 0 ? r : buf_append_char(out, '\n');
}

/* The leading Ctrl-U takes away what may stand on the line already. `IFS=` costs bash more than the `read` itself, and
 * our texts can do without: they begin and end with what is no blank, and their last byte is not the only one of its
 * kind, so that whatever the user's IFS is, the one variable gets all. Only with the two bytes that bash uses for its
 * own quoting in the text, and in IFS too, would some be lost. */
const char *shell_typed_line(const struct buf *text)
{
	if (memchr(text->data, '\001', text->len) || memchr(text->data, '\177', text->len))
		return "\025 IFS= \\builtin read -rd '' -u58 __crex;\\builtin eval \"$__crex\"||__crex_s\n";
	return "\025 \\builtin read -rd '' -u58 __crex;\\builtin eval \"$__crex\"||__crex_s\n";
}

static int append_trap(struct buf *out, const struct buf *trap)
{
	if (trap->len == 0)
		return 0;
	int r = buf_append_str(out, "\\builtin ");
	r = r < 0 ? r : buf_append(out, trap->data, trap->len);
	return r < 0 ? r : buf_append_str(out, "\n");
}

/* `jobs` tells the sink what bash would otherwise say about ended jobs in the middle of the user's output.
 * $? and $_ are put back by the last simple command before the user's: `:` with the old last argument, or, for a
 * status other than 0, a function that removes itself; `&& :` keeps errexit and ERR from seeing its status. */
static int append_prologue(struct buf *out, const struct shell_state *st, bool checked)
{
	bool observed = st->trap_debug.len > 0 || strpbrk(st->flags, "xv");
	int r = buf_append_str(out, "{ __crex=;");
	if (checked)
		r = r < 0 ? r : buf_append_str(out, "\\builtin unset -f __crex;");
	if (st->has_jobs)
		r = r < 0 ? r : buf_append_str(out, "\\builtin jobs >&57 2>&57; ");
	if (st->status != 0)
		r = r < 0 ? r
			  : buf_printf(out, "__crex() { \\builtin unset -f __crex; \\builtin return %d; }; ",
				       st->status);
	if (observed)
		r = r < 0 ? r : buf_append_str(out, "{ ");
	r = r < 0 ? r : append_trap(out, &st->trap_err);
	r = r < 0 ? r : append_trap(out, &st->trap_debug);
	if (st->flags[0])
		r = r < 0 ? r : buf_printf(out, "\\builtin set -%s; ", st->flags);
	r = r < 0 ? r : buf_append_str(out, st->status != 0 ? "__crex " : "\\builtin : ");
	r = r < 0 ? r : buf_append_str(out, "\"$__crex_u\"");
	if (st->status != 0)
		r = r < 0 ? r : buf_append_str(out, " && :");
	if (observed)
		r = r < 0 ? r : buf_append_str(out, "; } >&57 2>&57");
	if (observed && st->xtrace_fd.len > 0)
		r = r < 0 ? r : buf_printf(out, " %s>&57", st->xtrace_fd.data);
	return r < 0 ? r : buf_append_str(out, "\n");
}

static bool is_separator(char c)
{
	return strchr(" \t\n;&|(){}", c) != NULL;
}

/* Whether a `}` stands where bash could take it for the end of our group. */
static bool may_close_group(struct crex_str cmd)
{
	const char *p = cmd.ptr, *end = cmd.ptr + cmd.len;
	while (p < end && (p = memchr(p, '}', (size_t)(end - p)))) {
		if (p == cmd.ptr || is_separator(p[-1]))
			return true;
		p++;
	}
	return false;
}

static int append_user_text(struct buf *out, struct crex_str cmd)
{
	int r = buf_append_str(out, "\n");
	r = r < 0 ? r : buf_append(out, cmd.ptr, cmd.len);
	/* a final backslash joins the next line: give it an empty one */
	if (cmd.len > 0 && cmd.ptr[cmd.len - 1] == '\\')
		r = r < 0 ? r : buf_append_str(out, "\n");
	return r < 0 ? r : buf_append_str(out, "\n");
}

int shell_append_command(struct buf *out, const struct shell_state *st, struct crex_str command, const char *nonce)
{
	bool checked = may_close_group(command);
	int r = 0;
	/* Text that is whole inside parentheses and inside braces is whole: nothing in it can close our group. The
	 * function is only parsed; the prologue removes it. */
	if (checked) {
		r = buf_append_str(out, "__crex() (");
		r = r < 0 ? r : append_user_text(out, command);
		r = r < 0 ? r : buf_append_str(out, ")\n");
	}
	r = r < 0 ? r : append_prologue(out, st, checked);
	r = r < 0 ? r : append_user_text(out, command);
	r = r < 0 ? r : buf_append_str(out, "};");
	r = r < 0 ? r : append_epilogue(out, nonce, st->trap_debug.len > 0 || st->trap_err.len > 0);
	return r < 0 ? r : buf_append_char(out, '\0');
}

int shell_append_recovery(struct buf *out, const char *session_nonce, const char *nonce)
{
	int r = buf_append_str(out, "__crex= __crex_u=${__crex_u-}; \\builtin unset -f __crex; ");
	r = r < 0 ? r : append_functions(out, session_nonce);
	r = r < 0 ? r : buf_append_str(out, "\\builtin : \"$__crex_u\"\n");
	r = r < 0 ? r : append_epilogue(out, nonce, true);
	return r < 0 ? r : buf_append_char(out, '\0');
}

const char *shell_unhijack_line(void)
{
	/* In posix mode special builtins are found before functions, and assigning the variable switches the mode. */
	return "\025 POSIXLY_CORRECT=y; unset -f builtin; unset -v POSIXLY_CORRECT; "
	       "\\builtin enable : break enable eval printf read return set trap unset\n";
}

struct cursor {
	const char *p, *end;
};

/* Takes everything up to the next `stop` and steps over it. */
static bool take_until(struct cursor *c, const char *stop, struct crex_str *ret)
{
	const char *hit = memmem(c->p, (size_t)(c->end - c->p), stop, strlen(stop));
	if (!hit)
		return false;
	*ret = (struct crex_str){c->p, (size_t)(hit - c->p)};
	c->p = hit + strlen(stop);
	return true;
}

static void set_field(struct buf *field, struct crex_str value)
{
	buf_deinit(field);
	if (buf_append(field, value.ptr, value.len) < 0)
		buf_deinit(field); /* too large to carry over: the next command finds it empty */
}

/* The "trap -- '<quoted>' NAME\n" that stands at the beginning of a line; `end` is its "' NAME\n". Around it may stand
 * what a DEBUG trap has printed while the report was made. In the quoted text a quote stands as '\'' only. */
static struct crex_str find_trap(struct crex_str field, const char *end)
{
	static const char begin[] = "trap -- '";
	const char *p = field.ptr, *stop = field.ptr + field.len;
	size_t n = sizeof begin - 1, m = strlen(end);
	while ((p = memmem(p, (size_t)(stop - p), begin, n))) {
		const char *q = p + n;
		while ((q = memchr(q, '\'', (size_t)(stop - q))) && stop - q >= 4 && memcmp(q, "'\\''", 4) == 0)
			q += 4;
		if (q && (size_t)(stop - q) >= m && memcmp(q, end, m) == 0 && (p == field.ptr || p[-1] == '\n'))
			return (struct crex_str){p, (size_t)(q + m - p)};
		p += n;
	}
	return (struct crex_str){"", 0};
}

static bool is_number(struct crex_str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
	return text.len > 0 && text.len < 10;
}

void shell_parse_report(const char *data, size_t len, const char *session_nonce, struct shell_state *st)
{
	struct cursor c = {data, data + len};
	struct crex_str skipped, flags = {"", 0}, xtrace_fd = {"", 0};
	if (!take_until(&c, session_nonce, &skipped) || !take_until(&c, ":", &skipped) ||
	    !take_until(&c, ":", &flags) || !take_until(&c, ":", &xtrace_fd))
		flags = xtrace_fd = (struct crex_str){"", 0};
	size_t k = 0;
	for (const char *f = "xveTa"; *f; f++)
		if (flags.len && memchr(flags.ptr, *f, flags.len))
			st->flags[k++] = *f;
	st->flags[k] = '\0';
	set_field(&st->xtrace_fd, is_number(xtrace_fd) ? xtrace_fd : (struct crex_str){"", 0});
	struct crex_str all = {data, len};
	set_field(&st->trap_debug, find_trap(all, "' DEBUG\n"));
	set_field(&st->trap_err, find_trap(all, "' ERR\n"));
}

bool shell_is_blank(struct crex_str command)
{
	bool comment = false, line_start = true;
	for (size_t i = 0; i < command.len; i++) {
		char c = command.ptr[i];
		if (c == '\n') {
			comment = false;
			line_start = true;
		} else if (comment || c == ' ' || c == '\t') {
			continue;
		} else if (c == '#' && line_start) {
			comment = true;
		} else {
			return false;
		}
	}
	return true;
}
