/* deploy/modal/result.c: how a build or a sandbox has ended, as Modal says it and as people read it. */
#include "deploy/modal/modal.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_OF_TIMEOUT = 124, EXIT_OF_TERMINATION = 137 };

void modal_result_read(struct crex_str message, struct modal_result *ret)
{
	*ret = (struct modal_result){.status = MODAL_RUNNING};
	struct pb_reader r = pb_read(message);
	for (struct pb_field f; pb_next(&r, &f);) {
		if (pb_is_uint(&f, 1))
			ret->status = f.value < 100 ? (unsigned)f.value : 99;
		else if (pb_is_bytes(&f, 2))
			snprintf(ret->exception, sizeof ret->exception, "%.*s",
				 (int)(f.bytes.len < sizeof ret->exception ? f.bytes.len : sizeof ret->exception - 1),
				 f.bytes.ptr);
		else if (pb_is_uint(&f, 3))
			ret->exit_code = (int)(int32_t)(uint32_t)f.value;
	}
	if (ret->status == MODAL_TIMEOUT)
		ret->exit_code = EXIT_OF_TIMEOUT;
	if (ret->status == MODAL_TERMINATED)
		ret->exit_code = EXIT_OF_TERMINATION;
}

void modal_result_describe(const struct modal_result *r, char *ret, size_t size)
{
	static const char *const words[] = {
		[3] = "it was terminated",	     [4] = "its deployment_timeout was over",
		[5] = "it could not be initialised", [6] = "Modal had an internal failure",
		[7] = "its idle_timeout was over",   [8] = "Modal has evicted it"};
	const char *word = r->status < sizeof words / sizeof *words ? words[r->status] : NULL;
	const char *more = r->exception, *colon = *more ? ": " : "";
	if (word)
		snprintf(ret, size, "%s%s%s", word, colon, more);
	else
		snprintf(ret, size, "exit code %d%s%s", r->exit_code, colon, more);
}
