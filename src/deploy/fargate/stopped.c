/* deploy/fargate/stopped.c: why a task has ended, in one message: ECS's reason, the container's, its exit code in words
 * where our script chose it, and the last lines that it printed. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include <string.h>

enum { MESSAGE_MAX = 64 << 10, OUTPUT_MAX = 4096, LINES_MAX = 12 };

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? text : "";
}

/* The beginning of the last lines. */
static const char *last_lines(const char *text, size_t len)
{
	size_t at = len, lines = 0;
	while (at > 0 && (text[at - 1] != '\n' || at == len || ++lines < LINES_MAX))
		at--;
	return text + at;
}

static void add_output(struct fargate *f, const struct deadline *d, struct buf *message)
{
	cleanup_buf struct buf output = {0};
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	if (!f->config.log_group || fargate_logs(f, d, OUTPUT_MAX, &output, &unheard) < 0 || !output.len)
		return;
	while (output.len && output.data[output.len - 1] == '\n')
		output.data[--output.len] = '\0';
	buf_printf(message, "\n%s", last_lines(output.data, output.len));
}

int fargate_explain_stop(struct fargate *f, const json_t *task, const struct deadline *d, struct crex_error *err)
{
	const json_t *container = json_array_get(json_object_get(task, "containers"), 0);
	const json_t *exit_code = json_object_get(container, "exitCode");
	const char *stopped = text_of(task, "stoppedReason"), *reason = text_of(container, "reason");
	cleanup_buf struct buf message;
	buf_init(&message, MESSAGE_MAX);
	buf_printf(&message, "the task stopped: %s", *stopped ? stopped : "no reason given");
	if (*reason && strcmp(reason, stopped) != 0)
		buf_printf(&message, "; container: %s", reason);
	if (json_is_integer(exit_code)) {
		int code = (int)json_integer_value(exit_code);
		const char *words = fargate_command_failure(code);
		buf_printf(&message, "; exit code %d%s%s", code, words ? ": " : "", words ? words : "");
	}
	add_output(f, d, &message);
	return crex_error_set_bytes(err, CREX_E_DEPLOYMENT_STARTUP, message.data ? message.data : "", message.len);
}
