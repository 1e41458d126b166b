/* tests/unit/test_remote_upload.c: files and directories go to a real server: what arrives, and what must not. */
#include "remote_rig.h"

#include "runtime/zip.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct rig_server server;
static struct crex_runtime *rt;

static int setup(void **state)
{
	(void)state;
	rig_server_start(&server, 0, false);
	rt = rig_runtime(server.port);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rt = crex_runtime_free(rt);
	rig_server_stop(&server);
	return 0;
}

struct progress {
	unsigned long long done, total;
	int calls;
};

static void on_progress(void *arg, unsigned long long done, unsigned long long total)
{
	struct progress *p = arg;
	assert_true(done >= p->done);
	*p = (struct progress){done, total, p->calls + 1};
}

static int upload(const char *from, const char *to, struct progress *p, struct crex_error *err)
{
	struct crex_upload_request req = CREX_UPLOAD_REQUEST_INIT;
	req.source_path = crex_str_of(from);
	req.target_path = crex_str_of(to);
	req.progress = p ? on_progress : NULL;
	req.progress_arg = p;
	return crex_runtime_upload(rt, &req, NULL, err);
}

static void same(const char *a, const char *b)
{
	free(rig_run("diff -r --no-dereference %s %s 2>&1", a, b));
}

static void test_file(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	static const char *const sizes[] = {"0", "1", "65536", "30000000"};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		const char *from = rig_path(&server, "file"), *to = rig_path(&server, "deep/er/copy");
		free(rig_run("head -c %s /dev/urandom > %s", sizes[i], from));
		struct progress p = {0};
		assert_ok(upload(from, to, &p, &err), err);
		same(from, to);
		assert_int_equal(p.done, strtoull(sizes[i], NULL, 10));
		assert_int_equal(p.total, p.done);
		assert_true(p.calls >= 1);
	}
}

static void test_directory(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	const char *from = rig_path(&server, "tree"), *to = rig_path(&server, "a/b/tree");
	free(rig_run("mkdir -p %s/empty %s/deep/er/and/deeper && cd %s && echo x > 'a b' && echo ä > 'ä€😀' && "
		     "printf '#!/bin/sh\\necho ran' > tool && chmod 755 tool && echo s > secret && chmod 600 secret && "
		     ": > none && "
		     "head -c 3000000 /dev/urandom > deep/er/noise && head -c 3000000 /dev/zero > "
		     "deep/er/and/deeper/zero && "
		     "echo '-' > '-n' && echo b > 'back\\slash' && echo n > 'new\nline'",
		     from, from, from));
	struct progress p = {0};
	assert_ok(upload(from, to, &p, &err), err);
	same(from, to);
	assert_true(p.total > 6000000);
	assert_int_equal(p.done, p.total);
	char *ran = rig_run("%s/tool; stat -c %%a %s/secret", to, to);
	assert_string_equal(ran, "ran\n600\n");
	free(ran);
	/* into a directory that exists: merged */
	free(rig_run("echo kept > %s/kept; echo other > %s/secret", to, to));
	assert_ok(upload(from, to, NULL, &err), err);
	char *kept = rig_run("cat %s/kept %s/secret", to, to);
	assert_string_equal(kept, "kept\ns\n");
	free(kept);
	/* nothing in it */
	const char *none = rig_path(&server, "nothing");
	assert_int_equal(mkdir(none, 0700), 0);
	assert_ok(upload(none, rig_path(&server, "nothing-there"), NULL, &err), err);
	same(none, rig_path(&server, "nothing-there"));
}

static void test_many_files(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	const char *from = rig_path(&server, "many"), *to = rig_path(&server, "many-there");
	free(rig_run("mkdir %s && cd %s && seq 66000 | split -l 1 -a 5 -d", from, from)); /* needs zip64 */
	assert_ok(upload(from, to, NULL, &err), err);
	same(from, to);
}

/* Python's zipfile, which SWE-ReX's own server unpacks with, takes the archives too. */
static void test_python_reads_it(void **state)
{
	(void)state;
	static const char *const names[] = {"a/", "a/\xC3\xA4.txt", "link", "tool", "none"};
	static const mode_t modes[] = {S_IFDIR | 0755, S_IFREG | 0644, S_IFLNK | 0777, S_IFREG | 0755, S_IFREG | 0600};
	struct zip z;
	assert_int_equal(zip_init(&z), 0);
	FILE *f = fopen(rig_path(&server, "made.zip"), "w");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		uint64_t claimed = i == 3 ? 0xFFFFFFFF : 0; /* so large a file has the wide form */
		assert_int_equal(zip_begin(&z, names[i], modes[i], claimed), 0);
		for (int part = 0; i > 0 && i < 4 && part < 3; part++)
			assert_int_equal(zip_write(&z, names[i], strlen(names[i])), 0);
		assert_int_equal(zip_end(&z), 0);
		fwrite(z.out.data, 1, z.out.len, f);
		buf_clear(&z.out);
	}
	assert_int_equal(zip_finish(&z), 0);
	fwrite(z.out.data, 1, z.out.len, f);
	fclose(f);
	zip_deinit(&z);
	char *said = rig_run(
		"%s -c 'import sys, zipfile\n"
		"z = zipfile.ZipFile(sys.argv[1])\n"
		"assert z.testzip() is None\n"
		"for i in z.infolist(): print(ascii(i.filename), oct(i.external_attr >> 16), i.file_size)' %s 2>&1",
		PYTHON, rig_path(&server, "made.zip"));
	assert_string_equal(said, "'a/' 0o40755 0\n'a/\\xe4.txt' 0o100644 24\n'link' 0o120777 12\n'tool' 0o100755 12\n"
				  "'none' 0o100600 0\n");
	free(said);
}

static void test_bad_sources(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	const char *to = rig_path(&server, "bad-there"), *dir = rig_path(&server, "bad");
	assert_fails(upload("/no/such/file", to, NULL, &err), err, CREX_E_FILE_NOT_FOUND);
	assert_fails(upload("/dev/null", to, NULL, &err), err, CREX_E_VALUE);
	free(rig_run("mkdir %s; echo x > %s/a; mkfifo %s/pipe", dir, dir, dir));
	assert_fails(upload(dir, to, NULL, &err), err, CREX_E_VALUE);
	assert_non_null(strstr(err.message, "pipe"));
	free(rig_run("rm %s/pipe; touch \"%s/$(printf 'caf\\351')\"", dir, dir));
	assert_fails(upload(dir, to, NULL, &err), err, CREX_E_UNICODE);
	assert_int_equal(access(to, F_OK), -1);
	if (geteuid() == 0) {
		/* root reads everything; another user is needed to be refused */
		free(rig_run("rm -r %s; mkdir -p %s/sub; echo x > %s/sub/file; chmod 0 %s/sub/file; chmod 711 %s", dir,
			     dir, dir, dir, server.home));
		assert_int_equal(seteuid(65534), 0);
		int r = upload(dir, to, NULL, &err);
		assert_int_equal(seteuid(0), 0);
		assert_int_equal(r, -1);
		assert_int_equal(err.code, CREX_E_PERMISSION);
		assert_non_null(strstr(err.message, "sub/file"));
		assert_int_equal(access(to, F_OK), -1);
	}
	crex_error_clear(&err);
}

/* The source changes while it is on its way: told by the progress callback, which runs in the middle. */
struct change {
	const char *path;
	off_t size;
	int calls;
};

static void change_source(void *arg, unsigned long long done, unsigned long long total)
{
	struct change *c = arg;
	(void)done;
	(void)total;
	if (c->calls++ == 0)
		assert_int_equal(truncate(c->path, c->size), 0);
}

static void test_changing_source(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	const char *dir = rig_path(&server, "changing"), *file = rig_path(&server, "changing/file");
	static const off_t sizes[] = {5000000, 20000000};
	for (int i = 0; i < 4; i++) {
		const char *to = rig_path(&server, "changing-there");
		free(rig_run("mkdir -p %s; head -c 10000000 /dev/urandom > %s", dir, file));
		struct change c = {.path = file, .size = sizes[i % 2]};
		struct crex_upload_request req = CREX_UPLOAD_REQUEST_INIT;
		req.source_path = crex_str_of(i < 2 ? file : dir);
		req.target_path = crex_str_of(to);
		req.progress = change_source;
		req.progress_arg = &c;
		assert_fails(crex_runtime_upload(rt, &req, NULL, &err), err, CREX_E_OS);
		assert_non_null(strstr(err.message, "changed while it was read"));
		assert_int_equal(access(to, F_OK), -1);
	}
	crex_error_clear(&err);
}

static void test_refusals(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	struct crex_remote_runtime_config config = CREX_REMOTE_RUNTIME_CONFIG_INIT;
	const char *from = rig_path(&server, "big");
	free(rig_run("head -c 20000000 /dev/zero > %s", from));
	assert_fails(upload(from, "/proc/no/such", NULL, &err), err, CREX_E_FILE_NOT_FOUND);
	assert_fails(upload(from, server.home, NULL, &err), err, CREX_E_IS_A_DIRECTORY);
	config.port = server.port;
	config.auth_token = "wrong";
	struct crex_runtime *other = crex_remote_runtime_new(&config, &err);
	struct crex_upload_request req = {crex_str_of(from), crex_str_of(rig_path(&server, "never")), NULL, NULL};
	assert_fails(crex_runtime_upload(other, &req, NULL, &err), err, CREX_E_AUTHENTICATION);
	crex_runtime_free(other);
	crex_error_clear(&err);
}

static void test_cut(void **state)
{
	(void)state;
	static const long cuts[] = {0, 100, 500, 900, 5000, 100000, 1000000};
	struct crex_error err = CREX_ERROR_INIT;
	struct relay relay;
	relay_start(&relay, server.port);
	const char *tree = rig_path(&server, "tree"), *file = rig_path(&server, "big");
	const char *to = rig_path(&server, "cut-there");
	for (size_t i = 0; i < 2 * sizeof cuts / sizeof *cuts; i++) {
		const char *from = i % 2 ? tree : file;
		struct crex_runtime *r = rig_runtime(relay.port);
		relay_set(&relay, cuts[i / 2], -1, 1);
		struct crex_upload_request req = {crex_str_of(from), crex_str_of(to), NULL, NULL};
		assert_ok(crex_runtime_upload(r, &req, NULL, &err), err);
		same(from, to);
		free(rig_run("rm -rf %s", to));
		crex_runtime_free(r);
	}
	relay_stop(&relay);
}

static long peak_kib(void)
{
	char *text = rig_run("grep VmHWM /proc/%d/status", (int)getpid());
	long kib = atol(strpbrk(text, "0123456789"));
	free(text);
	return kib;
}

static void test_memory(void **state)
{
	(void)state;
	struct crex_error err = CREX_ERROR_INIT;
	const char *dir = rig_path(&server, "large"), *to = rig_path(&server, "large-there");
	free(rig_run("mkdir %s; head -c 200000000 /dev/zero > %s/file; echo 5 > /proc/%d/clear_refs", dir, dir,
		     (int)getpid()));
	long before = peak_kib();
	assert_ok(upload(dir, to, NULL, &err), err);
	assert_ok(upload(rig_path(&server, "large/file"), rig_path(&server, "large-file"), NULL, &err), err);
	same(dir, to);
	print_message("200 MB took %ld KiB of memory\n", peak_kib() - before);
	assert_true(peak_kib() - before < 64 * 1024); /* sanitizers keep what is freed for a while */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),	    cmocka_unit_test(test_directory),
		cmocka_unit_test(test_many_files),  cmocka_unit_test(test_python_reads_it),
		cmocka_unit_test(test_bad_sources), cmocka_unit_test(test_changing_source),
		cmocka_unit_test(test_refusals),    cmocka_unit_test(test_cut),
		cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
