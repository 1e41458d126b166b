/* runtime/stream.c: the one way into every stream, as runtime.c is into runtimes.
 *
 * Reads and writes are many and small, so all that is done here is what a slot may rely on: a call and an error that
 * are not NULL. */
#include <crex/interface.h>

#include "base/cleanup.h"

static const struct crex_call forever = CREX_CALL_INIT;

/* The caller's error, cleared, or the stand-in. */
static struct crex_error *heard(struct crex_error *err, struct crex_error *unheard)
{
	if (!err)
		return unheard;
	crex_error_clear(err);
	return err;
}

int crex_stream_read(struct crex_stream *s, struct crex_stream_event *ret, const struct crex_call *call,
		     struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	return s->ops->read(s, ret, call ? call : &forever, heard(err, &unheard));
}

int crex_stream_write(struct crex_stream *s, const char *data, size_t len, const struct crex_call *call,
		      struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	return s->ops->write(s, data, len, call ? call : &forever, heard(err, &unheard));
}

int crex_stream_close_stdin(struct crex_stream *s, const struct crex_call *call, struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	return s->ops->close_stdin(s, call ? call : &forever, heard(err, &unheard));
}

int crex_stream_resize(struct crex_stream *s, int rows, int columns, const struct crex_call *call,
		       struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	return s->ops->resize(s, rows, columns, call ? call : &forever, heard(err, &unheard));
}

int crex_stream_signal(struct crex_stream *s, int signum, const struct crex_call *call, struct crex_error *err)
{
	cleanup_error struct crex_error unheard = CREX_ERROR_INIT;
	return s->ops->signal(s, signum, call ? call : &forever, heard(err, &unheard));
}

int crex_stream_fd(const struct crex_stream *s)
{
	return s->ops->fd(s);
}

struct crex_stream *crex_stream_free(struct crex_stream *s)
{
	if (s)
		s->ops->free(s);
	return NULL;
}
