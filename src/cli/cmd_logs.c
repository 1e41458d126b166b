/* cli/cmd_logs.c: crex logs: what the sandbox itself has said: its server's log, its container's.
 *
 * The library gives all of it each time. Following means to ask again and to show what is new; a log of which the
 * beginning has been dropped meanwhile is put together at the place where old and new agree. */
#include "base/cleanup.h"
#include "base/deadline.h"
#include "cli/joined.h"
#include "cli/target.h"
#include <stdio.h>
#include <string.h>

#define PAUSE_SECONDS 1.0
enum { AGREE_MAX = 4096 };

struct logs_options {
	struct common_options common;
	bool follow;
	int tail;
};

static const struct option_row logs_rows[] = {
	{"follow", 'f', OPTION_FLAG, NULL, "go on showing what comes, until Ctrl-C",
	 offsetof(struct logs_options, follow), NULL},
	{"tail", 'n', OPTION_COUNT, "N", "begin with the last N lines", offsetof(struct logs_options, tail), NULL},
};

static const struct option_group groups[] = {OPTION_GROUP("Which", logs_rows, 0), COMMON_GROUP, JSON_GROUP,
					     OPTION_GROUPS_END};

static size_t beginning_of_tail(const struct crex_text *text, int lines)
{
	size_t at = text->len;
	if (at > 0 && text->data[at - 1] == '\n')
		at--;
	for (; at > 0; at--)
		if (text->data[at - 1] == '\n' && --lines == 0)
			break;
	return at;
}

/* Where in `now` the part begins that wasn't in `before`. */
static size_t beginning_of_news(const struct crex_text *before, const struct crex_text *now)
{
	if (now->len >= before->len && (before->len == 0 || memcmp(now->data, before->data, before->len) == 0))
		return before->len;
	size_t agree = before->len < AGREE_MAX ? before->len : AGREE_MAX;
	const char *at = memmem(now->data, now->len, before->data + before->len - agree, agree);
	return at ? (size_t)(at - now->data) + agree : 0;
}

/* One object a line, so that following works too. */
static int show(struct cli *cli, const char *text, size_t len)
{
	if (!cli->out.json)
		return write_all(STDOUT_FILENO, text, len) < 0 ? fail(cli, "standard output can't be written: %m") : 0;
	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = end ? (size_t)(end - text) - at : len - at;
		json_t *line = json_pack("{s:s%}", "line", text + at, n);
		int r = line ? json_dumpf(line, stdout, JSON_COMPACT) : -1;
		json_decref(line);
		if (r < 0)
			return fail(cli, "a line of the log is no text");
		putchar('\n');
		at += n + 1;
	}
	return finish_stdout(cli);
}

static int follow(struct cli *cli, struct target *target, struct crex_text *before)
{
	struct deadline until_called_off = {CREX_NO_TIMEOUT, cli->cancel};
	const struct crex_call call = {30, cli->cancel};
	int code = 0;
	while (code == 0) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		struct crex_text now = CREX_TEXT_INIT;
		if (deadline_pause(&until_called_off, PAUSE_SECONDS, &err) < 0 ||
		    crex_deployment_logs(target->d, &call, &now, &err) < 0)
			return fail_error(cli, NULL, &err);
		size_t at = beginning_of_news(before, &now);
		code = show(cli, now.data + at, now.len - at);
		crex_text_clear(before);
		*before = now;
	}
	return code;
}

static int run(struct cli *cli, void *options, const struct operands *operands)
{
	const struct logs_options *o = options;
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	struct target target = {0};
	struct crex_text text = CREX_TEXT_INIT;
	if (operands->n == 0)
		return fail(cli, "logs of what? crex logs NAME; `crex ps` lists the names");
	int code = target_open(cli, operands->items[0], &target);
	if (code != 0)
		return code;
	const struct crex_call call = {30, cli->cancel};
	if (crex_deployment_logs(target.d, &call, &text, &err) < 0) {
		code = fail_error(cli, operands->items[0], &err);
	} else {
		size_t at = o->tail > 0 ? beginning_of_tail(&text, o->tail) : 0;
		code = show(cli, text.data + at, text.len - at);
		if (code == 0 && o->follow)
			code = follow(cli, &target, &text);
	}
	crex_text_clear(&text);
	return target_end(cli, &target, code);
}

const struct command command_logs = {
	.name = "logs",
	.summary = "what a sandbox itself has logged",
	.usage = "NAME [OPTION...]",
	.about = "The log of the container and the server in it, not the output of commands. With --json one object a\n"
		 "line: {\"line\": ...}.",
	.examples = "crex logs web\ncrex logs -f --tail 20 web",
	.groups = groups,
	.options_size = sizeof(struct logs_options),
	.max_operands = 1,
	.has_names = true,
	.run = run,
};
