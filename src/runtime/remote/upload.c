/* runtime/remote/upload.c: a file or a directory of this machine as the body of an upload.
 *
 * libcurl asks for the body piece by piece and each piece is made then (runtime/pack.c). A source that fails in the
 * middle stops the transfer in the middle of the body: the server throws away what has no end. Should the connection
 * fail, the upload begins anew; it has no id, since doing it twice comes to the same. */
#include "runtime/pack.h"
#include "runtime/remote/remote.h"

struct remote_form {
	const struct crex_upload_request *req;
	struct pack *pack;
	struct crex_error err; /* why the transfer was stopped */
};

/* To the beginning of the body. */
static int begin(void *arg, struct crex_error *err)
{
	struct remote_form *f = arg;
	return pack_rewind(f->pack, err);
}

static size_t on_read(char *data, size_t size, size_t n, void *arg)
{
	struct remote_form *f = arg;
	ssize_t got = pack_read(f->pack, data, size * n, &f->err);
	return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct remote_form *f = arg;
	if (offset != 0 || origin != SEEK_SET)
		return CURL_SEEKFUNC_FAIL;
	return pack_rewind(f->pack, &f->err) < 0 ? CURL_SEEKFUNC_FAIL : CURL_SEEKFUNC_OK;
}

static bool add_part(curl_mime *mime, const char *name, const char *data, size_t len)
{
	curl_mimepart *part = curl_mime_addpart(mime);
	return part && curl_mime_name(part, name) == CURLE_OK && curl_mime_data(part, data, len) == CURLE_OK;
}

curl_mime *remote_form_build(struct remote_form *f, CURL *easy)
{
	bool directory = pack_is_archive(f->pack);
	struct crex_str target = f->req->target_path;
	const char *unzip = directory ? "true" : "false";
	curl_mime *mime = curl_mime_init(easy);
	curl_mimepart *part;
	if (mime && add_part(mime, "target_path", target.len ? target.ptr : "", target.len) &&
	    add_part(mime, "unzip", unzip, strlen(unzip)) && (part = curl_mime_addpart(mime)) &&
	    curl_mime_name(part, "file") == CURLE_OK &&
	    curl_mime_filename(part, directory ? "file.zip" : "file") == CURLE_OK &&
	    curl_mime_type(part, "application/octet-stream") == CURLE_OK &&
	    curl_mime_data_cb(part, directory ? -1 : (curl_off_t)pack_size(f->pack), on_read, on_seek, NULL, f) ==
		    CURLE_OK)
		return mime;
	curl_mime_free(mime);
	return NULL;
}

bool remote_form_failed(struct remote_form *f, struct crex_error *err)
{
	if (f->err.code == CREX_OK)
		return false;
	crex_error_move(err, &f->err);
	return true;
}

int remote_upload(struct crex_runtime *rt, const struct crex_upload_request *req, const struct crex_call *call,
		  struct crex_error *err)
{
	struct deadline d;
	deadline_begin(&d, call);
	struct remote_form form = {.req = req, .err = CREX_ERROR_INIT};
	form.pack = pack_open(req, err);
	if (!form.pack)
		return -1;
	const struct remote_request ask = {.path = "/upload", .post = true, .form = &form, .limit = CREX_NO_TIMEOUT};
	struct buf body = {0};
	int r = remote_request((struct remote *)rt, &ask, &d, &body, begin, &form, err);
	if (r == 0)
		pack_arrived(form.pack);
	buf_deinit(&body);
	crex_error_clear(&form.err);
	pack_free(form.pack);
	return r;
}
