/* deploy/fargate/logs.c: a task's output, as CloudWatch keeps it.
 *
 * Read from the newest page backwards, until there is as much as was wanted: a page without events is the end only when
 * its token is the one that was asked with. */
#include "deploy/fargate/fargate.h"

#include "base/cleanup.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { STREAM_MAX = 256, PAGES_MAX = 1000 };

static const char *task_id(const struct fargate *f)
{
	const char *slash = strrchr(f->task, '/');
	return slash ? slash + 1 : f->task;
}

static void stream_name(const struct fargate *f, char ret[STREAM_MAX])
{
	snprintf(ret, STREAM_MAX, FARGATE_STREAM_PREFIX "/" FARGATE_CONTAINER "/%s", task_id(f));
}

/* One page's messages as lines, put before what is there already. */
static int prepend(struct buf *all, const json_t *events, size_t max, struct crex_error *err)
{
	cleanup_buf struct buf page;
	buf_init(&page, (size_t)64 << 20);
	size_t i;
	json_t *event;
	int r = 0;
	json_array_foreach(events, i, event)
	{
		const char *message = json_string_value(json_object_get(event, "message"));
		if (message && r == 0)
			r = buf_printf(&page, "%s\n", message);
	}
	if (r == 0 && all->len)
		r = buf_append(&page, all->data, all->len);
	if (r < 0)
		return crex_error_set_errno(err, -r, NULL);
	if (page.len > max)
		buf_consume(&page, page.len - max);
	struct buf old = *all;
	*all = page;
	page = old;
	return 0;
}

int fargate_logs(struct fargate *f, const struct deadline *d, size_t max, struct buf *ret, struct crex_error *err)
{
	char stream[STREAM_MAX];
	cleanup_free char *token = NULL;
	stream_name(f, stream);
	buf_init(ret, max);
	for (int pages = 0; pages < PAGES_MAX && ret->len < max; pages++) {
		cleanup_json json_t *answer = NULL;
		struct aws_refusal why;
		json_t *body = json_pack("{s:s, s:s, s:b}", "logGroupName", f->config.log_group, "logStreamName",
					 stream, "startFromHead", 0);
		if (body && token)
			json_object_set_new(body, "nextToken", json_string(token));
		if (aws_json(&f->aws, AWS_LOGS, "GetLogEvents", body, d, &answer, &why, err) < 0) {
			if (!aws_was_refused_with(&why, "ResourceNotFoundException"))
				return -1;
			crex_error_clear(err); /* nothing was printed yet */
			return 0;
		}
		const char *next = json_string_value(json_object_get(answer, "nextBackwardToken"));
		if (prepend(ret, json_object_get(answer, "events"), max, err) < 0)
			return -1;
		if (!next || (token && strcmp(next, token) == 0))
			return 0;
		free(token);
		token = strdup(next);
		if (!token)
			return crex_error_set_errno(err, ENOMEM, NULL);
	}
	return 0;
}

/* The console wants '/' in names as $252F: percent-encoded twice, with '$' for the outer '%'. */
static void add_name(struct buf *url, const char *name)
{
	for (; *name; name++) {
		if (strchr("/#", *name))
			buf_printf(url, "$25%02X", (unsigned char)*name);
		else
			buf_append_char(url, *name);
	}
}

char *fargate_log_url(const struct fargate *f)
{
	char stream[STREAM_MAX];
	struct buf url;
	if (!f->config.log_group)
		return NULL;
	stream_name(f, stream);
	buf_init(&url, 4096);
	buf_printf(&url, "https://%s.%s/cloudwatch/home?region=%s#logsV2:log-groups/log-group/", f->aws.region,
		   aws_console_domain(f->aws.region), f->aws.region);
	add_name(&url, f->config.log_group);
	buf_append_str(&url, "/log-events/");
	add_name(&url, stream);
	return buf_steal(&url, NULL);
}
