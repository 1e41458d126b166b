/* tests/contract/files.c: reading, writing, uploading. */
#include "rig.h"

#include "base/cleanup.h"
#include <pthread.h>
#include <sys/stat.h>

static int write_file(struct contract *c, const char *path, const char *content, size_t len)
{
	const struct crex_write_file_request req = {crex_str_of(path), {content, len}};
	return crex_runtime_write_file(c->rt, &req, NULL, &c->err);
}

static int read_file(struct contract *c, const char *path, const char *encoding, const char *errors,
		     struct crex_text *ret)
{
	const struct crex_read_file_request req = {crex_str_of(path), crex_str_of(encoding), crex_str_of(errors)};
	return crex_runtime_read_file(c->rt, &req, NULL, ret, &c->err);
}

static void test_write_and_read(struct contract *c)
{
	static const char content[] = "gr\xc3\xbc\xc3\x9f\n\0\n";
	const char *path = contract_path(c, "new/sub/dir/a file");
	struct crex_text got = CREX_TEXT_INIT;
	OK(c, write_file(c, path, content, sizeof content - 1));
	OK(c, read_file(c, path, NULL, NULL, &got));
	assert_int_equal(got.len, sizeof content - 1);
	assert_memory_equal(got.data, content, got.len);
	crex_text_clear(&got);
	OK(c, write_file(c, path, "", 0));
	OK(c, read_file(c, path, NULL, NULL, &got));
	assert_int_equal(got.len, 0);
	assert_non_null(got.data);
	crex_text_clear(&got);
}

static void test_file_errors(struct contract *c)
{
	const char *path = contract_path(c, "none");
	FAILS(c, read_file(c, path, NULL, NULL, NULL), CREX_E_FILE_NOT_FOUND);
	assert_non_null(strstr(c->err.message, path));
	if (c->kind == KIND_DUMMY)
		return;
	FAILS(c, read_file(c, c->home, NULL, NULL, NULL), CREX_E_IS_A_DIRECTORY);
	FAILS(c, write_file(c, c->home, "x", 1), CREX_E_IS_A_DIRECTORY);
	OK(c, write_file(c, path, "x", 1));
	FAILS(c, read_file(c, path, "no-such-encoding", NULL, NULL), CREX_E_LOOKUP);
	FAILS(c, read_file(c, contract_path(c, "none/below"), NULL, NULL, NULL), CREX_E_NOT_A_DIRECTORY);
	free(rig_run("printf 'a\\377b\\r\\nc' >%s", path));
	FAILS(c, read_file(c, path, NULL, NULL, NULL), CREX_E_UNICODE);
	struct crex_text got = CREX_TEXT_INIT;
	OK(c, read_file(c, path, NULL, "backslashreplace", &got));
	assert_string_equal(got.data, "a\\xffb\nc");
	crex_text_clear(&got);
	OK(c, read_file(c, path, "latin-1", NULL, &got));
	assert_string_equal(got.data, "a\xc3\xbf"
				      "b\nc");
	crex_text_clear(&got);
	struct crex_read_file_request req = CREX_READ_FILE_REQUEST_INIT;
	req.path = (struct crex_str)CREX_STR("/tmp/a\0b");
	FAILS(c, crex_runtime_read_file(c->rt, &req, NULL, NULL, &c->err), CREX_E_VALUE);
}

struct progress {
	unsigned long long done, total;
	pthread_t thread;
	struct crex_cancel *cancel; /* triggered at the first word */
	int times;
};

static void on_progress(void *arg, unsigned long long done, unsigned long long total)
{
	struct progress *p = arg;
	assert_true(pthread_equal(p->thread, pthread_self()));
	assert_true(done >= p->done);
	p->done = done;
	p->total = total;
	p->times++;
	if (p->cancel)
		crex_cancel_trigger(p->cancel);
}

static int upload_with(struct contract *c, const char *from, const char *to, struct progress *p)
{
	struct crex_upload_request req = CREX_UPLOAD_REQUEST_INIT;
	const struct crex_call call = {CREX_NO_TIMEOUT, p ? p->cancel : NULL};
	req.source_path = crex_str_of(from);
	req.target_path = crex_str_of(to);
	if (p) {
		p->thread = pthread_self();
		req.progress = on_progress;
		req.progress_arg = p;
	}
	return crex_runtime_upload(c->rt, &req, &call, &c->err);
}

static int upload(struct contract *c, const char *from, const char *to)
{
	return upload_with(c, from, to, NULL);
}

static void test_upload_file(struct contract *c)
{
	const char *from = contract_path(c, "from"), *to = contract_path(c, "new/dir/to");
	struct progress p = {0};
	free(rig_run("head -c 3000000 /dev/urandom >%s", from));
	OK(c, upload_with(c, from, to, &p));
	if (c->kind == KIND_DUMMY)
		return;
	free(rig_run("cmp %s %s", from, to));
	assert_int_equal(p.done, 3000000);
	assert_int_equal(p.total, 3000000);
	free(rig_run(">%s; chmod 600 %s", from, to));
	OK(c, upload(c, from, to)); /* an empty one in its place, which keeps its mode */
	free(rig_run("test \"$(stat -c %%a.%%s %s)\" = 600.0", to));
}

static void test_upload_errors(struct contract *c)
{
	const char *to = contract_path(c, "to"), *fifo = contract_path(c, "fifo"), *file = contract_path(c, "file");
	FAILS(c, upload(c, contract_path(c, "none"), to), CREX_E_FILE_NOT_FOUND);
	if (c->kind == KIND_DUMMY)
		return;
	free(rig_run("mkfifo %s; echo x >%s; mkdir %s/d; mkfifo %s/d/p", fifo, file, c->home, c->home));
	FAILS(c, upload(c, fifo, to), CREX_E_VALUE);
	assert_int_equal(upload(c, contract_path(c, "d"), to), -1);
	assert_non_null(strstr(c->err.message, "p"));
	FAILS(c, upload(c, file, c->home), CREX_E_IS_A_DIRECTORY);
	static const char *const ways_out[] = {"/etc", "../d", "a/../../x", "a/../b", ".."};
	for (size_t i = 0; i < sizeof ways_out / sizeof *ways_out; i++) {
		free(rig_run("rm -f %s/d/p; ln -s %s %s/d/p", c->home, ways_out[i], c->home));
		FAILS(c, upload(c, contract_path(c, "d"), to), CREX_E_VALUE);
		assert_non_null(strstr(c->err.message, ways_out[i]));
	}
	free(rig_run("rm %s/d/p", c->home));
	FAILS(c, upload(c, contract_path(c, "d"), file), CREX_E_NOT_A_DIRECTORY);
	struct crex_upload_request req = {crex_str_of(file), CREX_STR("/tmp/a\0b"), NULL, NULL};
	FAILS(c, crex_runtime_upload(c->rt, &req, NULL, &c->err), CREX_E_VALUE);
	req = (struct crex_upload_request){CREX_STR("/tmp/a\0b"), crex_str_of(to), NULL, NULL};
	FAILS(c, crex_runtime_upload(c->rt, &req, NULL, &c->err), CREX_E_VALUE);
	free(rig_run("test ! -e %s; test \"$(cat %s)\" = x; test $(ls -A %s | grep -v '^[.]' | wc -l) = 3", to, file,
		     c->home));
}

static char *list_tree(const char *path)
{
	return rig_run("cd %s && find . -printf '%%P|%%y|%%m|%%l\\n' | grep -v '^|' | sort", path);
}

static void test_upload_directory(struct contract *c)
{
	const char *from = contract_path(c, "from"), *to = contract_path(c, "new/to");
	free(rig_run(
		"mkdir -p %s/from/a/b/c %s/from/empty && cd %s/from && echo run >run && chmod 755 run && echo s >s && "
		"chmod 640 s && ln -s a/b link && ln -s run a/dangling && ln -s ../../../s a/b/c/up && ln -s "
		"./link/./deep twice && echo x >a/b/c/deep && echo 1 >'a b' && "
		"echo 2 >-rf && echo 3 >'gr\xc3\xbc\xc3\x9f' && printf 4 >'new\nline' && head -c 300000 /dev/zero "
		">zero && "
		"chmod 700 a",
		c->home, c->home, c->home));
	struct progress p = {0};
	OK(c, upload_with(c, from, to, &p));
	if (c->kind == KIND_DUMMY)
		return;
	char *a = list_tree(from), *b = list_tree(to);
	assert_string_equal(a, b);
	free(a);
	free(b);
	free(rig_run("diff -r %s/from/a/b %s/new/to/a/b && cmp %s/from/zero %s/new/to/zero", c->home, c->home, c->home,
		     c->home));
	assert_int_equal(p.done, p.total);
	/* into what is there: what it doesn't have stays */
	free(rig_run("echo old >%s/mine; echo changed >%s/s", to, from));
	OK(c, upload(c, from, to));
	free(rig_run("cd %s && test \"$(cat mine s)\" = \"old\nchanged\"", to));
	/* a link to a file elsewhere: as a virtual environment has them */
	free(rig_run("cd %s && echo out >tool && chmod 755 tool && ln -s ../tool from/tool", c->home));
	OK(c, upload(c, from, to));
	free(rig_run("cd %s && test ! -L tool && test -x tool && test \"$(cat tool)\" = out", to));
}

static void test_upload_called_off(struct contract *c)
{
	const char *from = contract_path(c, "from"), *to = contract_path(c, "to");
	struct progress p = {.cancel = crex_cancel_new(NULL)};
	free(rig_run("mkdir %s %s/tree; truncate -s 400M %s/tree/big", from, from, from));
	FAILS(c, upload_with(c, contract_path(c, "from/tree/big"), to, &p), CREX_E_CANCELLED);
	FAILS(c, upload_with(c, contract_path(c, "from/tree"), to, &p), CREX_E_CANCELLED);
	p.cancel = crex_cancel_free(p.cancel);
	double end = rig_now() + 20;
	char *left = NULL;
	do { /* what had begun is being removed behind our back */
		free(left);
		left = rig_run("ls -A %s", c->home);
	} while (strcmp(left, "from\n") != 0 && rig_now() < end);
	assert_string_equal(left, "from\n");
	free(left);
}

const struct contract_case file_cases[] = {
	{"write and read", test_write_and_read, ANY},
	{"file errors", test_file_errors, ANY},
	{"upload of a file", test_upload_file, ANY},
	{"upload errors", test_upload_errors, ANY},
	{"upload of a directory", test_upload_directory, ANY},
	{"upload called off", test_upload_called_off, REAL},
	{0},
};
