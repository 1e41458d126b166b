/* test_files.c: read_file, write_file and uploads on a real file system, with faults injected. */
#include "filetest.h"

#include "runtime/local/internal.h"

#include <sys/wait.h>

enum { MAX_FILE = 1 << 20, MAX_UNZIP = 32 << 20 };

static struct local rt = {.config = {.max_file = MAX_FILE, .max_unzip = MAX_UNZIP}};

struct result {
	int calls;
	struct crex_error err;
	char *text;
	size_t len;
	struct local_upload *up;
	int fd;
};

static void on_text(void *arg, struct crex_error *err, char *text, size_t len)
{
	struct result *res = arg;
	res->calls++;
	if (err)
		crex_error_move(&res->err, err);
	res->text = text;
	res->len = len;
}

static void on_done(void *arg, struct crex_error *err)
{
	on_text(arg, err, NULL, 0);
}

static void on_begun(void *arg, struct crex_error *err, struct local_upload *up, int fd)
{
	struct result *res = arg;
	on_text(arg, err, NULL, 0);
	res->up = up;
	res->fd = fd;
}

static void finish(struct result *res)
{
	uv_run(rt.loop, UV_RUN_DEFAULT);
	assert_int_equal(res->calls, 1);
	res->calls = 0;
}

static struct crex_str view(const char *s)
{
	return (struct crex_str){s, s ? strlen(s) : 0};
}

static void result_clear(struct result *res)
{
	crex_error_clear(&res->err);
	free(res->text);
	*res = (struct result){0};
}

static void expect_error(struct result *res, enum crex_error_code code, const char *text)
{
	if (res->err.code != code || !res->err.message || strcmp(res->err.message, text) != 0)
		fail_msg("%s: %s\nexpected %s", crex_error_name(res->err.code), res->err.message, text);
	assert_null(res->text);
	result_clear(res);
}

static void expect_ok(struct result *res)
{
	if (res->err.code != CREX_OK)
		fail_msg("%s: %s", crex_error_name(res->err.code), res->err.message);
	result_clear(res);
}

static struct result read_in(const char *path, const char *encoding, const char *errors)
{
	struct result res = {0};
	const struct crex_read_file_request req = {view(path), view(encoding), view(errors)};
	local_read_file(&rt, &req, on_text, &res);
	finish(&res);
	return res;
}

static struct result read_path(const char *path)
{
	return read_in(path, NULL, NULL);
}

static void expect_text(struct result res, const char *text, size_t len)
{
	if (res.err.code != CREX_OK)
		fail_msg("%s: %s", crex_error_name(res.err.code), res.err.message);
	assert_int_equal(res.len, len);
	assert_memory_equal(res.text, text, len);
	result_clear(&res);
}

static struct result write_bytes(const char *path, const char *data, size_t len)
{
	struct result res = {0};
	char *copy = malloc(len + 1);
	assert_non_null(copy);
	memcpy(copy, data, len);
	const struct crex_write_file_request req = {view(path), {copy, len}};
	local_write_file(&rt, &req, on_done, &res);
	memset(copy, '?', len); /* the engine has its own copy by now */
	free(copy);
	finish(&res);
	return res;
}

static void write_ok(const char *path, const char *text)
{
	struct result res = write_bytes(path, text, strlen(text));
	expect_ok(&res);
}

static void write_fails(const char *path, const char *text, enum crex_error_code code, const char *message)
{
	struct result res = write_bytes(path, text, strlen(text));
	expect_error(&res, code, message);
}

static int begin_test(void **state)
{
	(void)state;
	faults_clear();
	wipe("w");
	return mkdir("w", 0755);
}

static void no_temp_files_in(const char *path)
{
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (strncmp(e->d_name, ".crex", 5) == 0)
			fail_msg("%s/%s is left", path, e->d_name);
	}
	closedir(d);
}

static int end_test(void **state)
{
	(void)state;
	faults_clear();
	no_temp_files_in(".");
	no_temp_files_in("w");
	assert_int_equal(rt.holds, 0);
	return 0;
}

/* --- read_file ------------------------------------------------------------------------------------------------- */

static void test_read(void **state)
{
	(void)state;
	put("w/f", "a\r\nb\rc\n\n  \xc3\xa9");
	expect_text(read_path("w/f"), "a\nb\nc\n\n  \xc3\xa9", 11);
	expect_text(read_path(".//w/./f/"), "a\nb\nc\n\n  \xc3\xa9", 11); /* as pathlib has it */
	put("w/empty", "");
	expect_text(read_path("w/empty"), "", 0);
	put("w/bad", "x\xffy");
	expect_text(read_in("w/bad", NULL, "backslashreplace"), "x\\xffy", 6);
	expect_text(read_in("w/bad", "latin-1", NULL), "x\xc3\xbfy", 4);
	struct result res = read_path("w/bad");
	expect_error(&res, CREX_E_UNICODE, "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte");
	res = read_in("w/bad", "utf-9", NULL);
	expect_error(&res, CREX_E_LOOKUP, "unknown encoding: utf-9");
}

static void test_read_errors(void **state)
{
	(void)state;
	struct result res = read_path("w/none");
	expect_error(&res, CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: 'w/none'");
	res = read_path("w");
	expect_error(&res, CREX_E_IS_A_DIRECTORY, "[Errno 21] Is a directory: 'w'");
	res = read_path("");
	expect_error(&res, CREX_E_IS_A_DIRECTORY, "[Errno 21] Is a directory: '.'");
	put("w/f", "x");
	res = read_path("w/f/g");
	expect_error(&res, CREX_E_NOT_A_DIRECTORY, "[Errno 20] Not a directory: 'w/f/g'");
	const struct crex_read_file_request nul = {{"w/\0f", 4}, {NULL, 0}, {NULL, 0}};
	local_read_file(&rt, &nul, on_text, &res);
	finish(&res);
	expect_error(&res, CREX_E_VALUE, "embedded null byte");
	assert_int_equal(symlink("loop", "w/loop"), 0);
	res = read_path("w/loop");
	expect_error(&res, CREX_E_OS, "[Errno 40] Too many levels of symbolic links: 'w/loop'");
	res = read_path("~/x"); /* nobody expands it */
	expect_error(&res, CREX_E_FILE_NOT_FOUND, "[Errno 2] No such file or directory: '~/x'");
	res = read_path("w/\xed\xa0\x80");
	expect_error(&res, CREX_E_UNICODE,
		     "'utf-8' codec can't encode character '\\ud800' in position 2: surrogates not allowed");
}

static void test_read_undecodable_name(void **state)
{
	(void)state;
	put("w/\xff", "there");
	expect_text(read_path("w/\xed\xb3\xbf"), "there", 5);
}

static void test_read_special_files(void **state)
{
	(void)state;
	expect_text(read_path("/dev/null"), "", 0);
	struct result res = read_path("/proc/self/status"); /* its size is 0 */
	assert_int_equal(res.err.code, CREX_OK);
	assert_non_null(strstr(res.text, "Umask:"));
	result_clear(&res);
	assert_int_equal(mkfifo("w/fifo", 0644), 0);
	res = read_path("w/fifo");
	expect_error(&res, CREX_E_OS, "'w/fifo' is a named pipe or socket, not a file with content");
	res = read_path("/dev/zero");
	expect_error(&res, CREX_E_LIMIT, "file is larger than the limit of 1048576 bytes for read_file: '/dev/zero'");
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0) {
		char name[64], text[128];
		assert_int_equal(ptsname_r(master, name, sizeof name), 0);
		res = read_path(name);
		snprintf(text, sizeof text, "[Errno 11] Resource temporarily unavailable: '%s'", name);
		expect_error(&res, CREX_E_OS, text);
	}
	close(master);
}

static void test_read_limit(void **state)
{
	(void)state;
	char *big = malloc(MAX_FILE + 2);
	assert_non_null(big);
	memset(big, 'x', MAX_FILE + 1);
	big[MAX_FILE] = '\0';
	put("w/f", big);
	expect_text(read_path("w/f"), big, MAX_FILE);
	big[MAX_FILE] = 'x';
	big[MAX_FILE + 1] = '\0';
	put("w/f", big);
	struct result res = read_path("w/f");
	expect_error(&res, CREX_E_LIMIT, "file is larger than the limit of 1048576 bytes for read_file: 'w/f'");
	free(big);
}

/* --- write_file ------------------------------------------------------------------------------------------------ */

static void test_write(void **state)
{
	(void)state;
	write_ok("w/f", "one\r\ntwo");
	assert_content("w/f", "one\r\ntwo");
	assert_mode("w/f", 0644);
	write_ok("w/f", "");
	assert_content("w/f", "");
	write_ok("w/a/b/../c/f/", "deep");
	assert_content("w/a/c/f", "deep");
	assert_mode("w/a/c", 0755);
	umask(077);
	write_ok("w/private/f", "x");
	umask(022);
	assert_mode("w/private", 0700);
	assert_mode("w/private/f", 0600);
	struct result res = write_bytes("w/nul", "a\0b", 3);
	expect_ok(&res);
	char *text;
	assert_int_equal(slurp("w/nul", &text), 3);
	free(text);
}

static void test_write_keeps_mode_and_owner(void **state)
{
	(void)state;
	put("w/f", "old");
	assert_int_equal(chmod("w/f", 0751), 0);
	bool root = getuid() == 0;
	if (root) {
		assert_int_equal(chown("w/f", 12, 34), 0);
	}
	write_ok("w/f", "new");
	assert_mode("w/f", 0751);
	struct stat st;
	assert_int_equal(stat("w/f", &st), 0);
	assert_int_equal(st.st_uid, root ? 12 : getuid());
	assert_int_equal(st.st_gid, root ? 34 : st.st_gid);
}

static void test_write_is_atomic(void **state)
{
	(void)state;
	put("w/f", "old content");
	int fd = open("w/f", O_RDONLY | O_CLOEXEC);
	write_ok("w/f", "new");
	char old[32] = "";
	assert_int_equal(read(fd, old, sizeof old), 11); /* who has it open keeps what was there */
	assert_string_equal(old, "old content");
	close(fd);
}

static void test_write_through_links(void **state)
{
	(void)state;
	assert_int_equal(mkdir("w/d", 0755), 0);
	put("w/d/real", "old");
	assert_int_equal(symlink("d/real", "w/one"), 0);
	assert_int_equal(symlink("one", "w/two"), 0);
	write_ok("w/two", "new");
	assert_content("w/d/real", "new");
	char to[16];
	assert_int_equal(readlink("w/two", to, sizeof to), 3);
	assert_int_equal(readlink("w/one", to, sizeof to), 6);
	assert_int_equal(symlink("d/not/yet", "w/dangling"), 0);
	write_ok("w/dangling", "made");
	assert_content("w/d/not/yet", "made");
}

static void test_write_in_place(void **state)
{
	(void)state;
	put("w/f", "a longer old content");
	assert_int_equal(link("w/f", "w/g"), 0);
	write_ok("w/f", "new");
	assert_content("w/g", "new");
	write_ok("/dev/null", "gone");
	struct stat st;
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(mkfifo("w/fifo", 0644), 0);
	write_fails("w/fifo", "x", CREX_E_OS, "[Errno 6] No such device or address: 'w/fifo'"); /* nobody reads */
	int fd = open("w/fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	write_ok("w/fifo", "through");
	char got[16] = "";
	assert_int_equal(read(fd, got, sizeof got), 7);
	close(fd);
	faults.rename_errno = EBUSY; /* a bind mount */
	put("w/mounted", "a longer old content");
	write_ok("w/mounted", "new");
	assert_content("w/mounted", "new");
	char path[64];
	fd = open("w/deleted", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(unlink("w/deleted"), 0);
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
	write_ok(path, "text");
	assert_int_equal(pread(fd, got, sizeof got, 0), 4);
	assert_missing("w/deleted");
	close(fd);
}

static void test_write_errors(void **state)
{
	(void)state;
	put("w/f", "x");
	write_fails("w", "x", CREX_E_IS_A_DIRECTORY, "[Errno 21] Is a directory: 'w'");
	write_fails("w/f/g", "x", CREX_E_FILE_EXISTS, "[Errno 17] File exists: 'w/f'");
	write_fails("w/f/g/h", "x", CREX_E_NOT_A_DIRECTORY, "[Errno 20] Not a directory: 'w/f/g'");
	write_fails("w/g", "ab\xc3\xa9\xed\xb3\xbfx", CREX_E_UNICODE,
		    "'utf-8' codec can't encode character '\\udcff' in position 3: surrogates not allowed");
	write_fails("w/g", "\xed\xb3\xbf\xed\xa0\x80", CREX_E_UNICODE,
		    "'utf-8' codec can't encode characters in position 0-1: surrogates not allowed");
	assert_missing("w/g");
}

/* What a write gives that is made by nobody's process (as we are, if we are not root). The child reports by its exit
 * code alone: a failed assertion in it would run on with the other tests. */
static enum crex_error_code write_as_nobody(const char *path, const char *text)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		uv_loop_t own;
		if (uv_loop_init(&own) < 0 || (getuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0)))
			_exit(255);
		rt.loop = &own;
		struct result res = {0};
		const struct crex_write_file_request req = {view(path), view(text)};
		local_write_file(&rt, &req, on_done, &res);
		uv_run(&own, UV_RUN_DEFAULT);
		_exit(res.calls == 1 ? (int)res.err.code : 254);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return (enum crex_error_code)WEXITSTATUS(status);
}

static void test_write_permissions(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip();
	put("w/ro", "old");
	assert_int_equal(chmod("w", 0777), 0);
	assert_int_equal(write_as_nobody("w/ro", "new"), CREX_E_PERMISSION); /* rename would be allowed */
	assert_content("w/ro", "old");
	assert_int_equal(chmod("w/ro", 0666), 0);
	assert_int_equal(write_as_nobody("w/ro", "new"), CREX_OK); /* in place, as the owner couldn't be kept */
	assert_content("w/ro", "new");
	struct stat st;
	assert_int_equal(stat("w/ro", &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(chmod("w", 0755), 0);
	assert_int_equal(write_as_nobody("w/ro", "newer"), CREX_OK); /* the directory takes no temporary file */
	assert_content("w/ro", "newer");
	assert_int_equal(write_as_nobody("w/other", "x"), CREX_E_PERMISSION);
	assert_int_equal(write_as_nobody("w/d/other", "x"), CREX_E_PERMISSION);
	assert_missing("w/d");
}

static void test_write_faults(void **state)
{
	(void)state;
	put("w/f", "old");
	faults.write_errno = ENOSPC;
	faults.write_after = 3;
	write_fails("w/f", "new content", CREX_E_OS, "[Errno 28] No space left on device: 'w/f'");
	faults.write_after = 3;
	write_fails("w/d/g", "new content", CREX_E_OS, "[Errno 28] No space left on device: 'w/d/g'");
	faults_clear();
	assert_content("w/f", "old");
	assert_missing("w/d");
	faults.write_short = 1;
	faults.write_eintr = 1;
	write_ok("w/f", "new content");
	assert_content("w/f", "new content");
	faults_clear();
	faults.rename_errno = ENOSPC;
	write_fails("w/d/g", "x", CREX_E_OS, "[Errno 28] No space left on device: 'w/d/g'");
	assert_missing("w/d");
}

/* --- upload ---------------------------------------------------------------------------------------------------- */

static struct result upload_begin(const char *target, bool unzip)
{
	struct result res = {0};
	local_upload_begin(&rt, view(target), unzip, on_begun, &res);
	finish(&res);
	assert_int_equal(res.err.code == CREX_OK, res.up != NULL);
	return res;
}

static void begin_fails(const char *target, bool unzip, enum crex_error_code code, const char *text)
{
	struct result res = upload_begin(target, unzip);
	expect_error(&res, code, text);
}

static void feed(const struct result *res, const char *data, size_t len)
{
	assert_int_equal(write(res->fd, data, len), (ssize_t)len);
}

static void feed_zip(const struct result *res, const char *name, size_t less)
{
	char path[64], *zip;
	snprintf(path, sizeof path, "zips/%s", name);
	size_t len = slurp(path, &zip);
	feed(res, zip, len - less);
	free(zip);
}

static struct result upload_commit(struct result begun)
{
	struct result res = {0};
	assert_int_equal(begun.err.code, CREX_OK);
	local_upload_commit(begun.up, on_done, &res);
	finish(&res);
	return res;
}

static void upload_abort(struct result begun)
{
	local_upload_abort(begun.up);
	uv_run(rt.loop, UV_RUN_DEFAULT);
}

static struct result unzip_to(const char *target, const char *name)
{
	struct result begun = upload_begin(target, true);
	feed_zip(&begun, name, 0);
	return upload_commit(begun);
}

static void unzip_ok(const char *target, const char *name)
{
	struct result res = unzip_to(target, name);
	expect_ok(&res);
}

static void test_upload(void **state)
{
	(void)state;
	struct result up = upload_begin("w/d/e/f", false);
	assert_missing("w/d");
	feed(&up, "a\r\n\0b", 5);
	struct result res = upload_commit(up);
	expect_ok(&res);
	char *text;
	assert_int_equal(slurp("w/d/e/f", &text), 5);
	assert_memory_equal(text, "a\r\n\0b", 5);
	free(text);
	assert_mode("w/d/e/f", 0644);
	assert_int_equal(chmod("w/d/e/f", 0755), 0);
	up = upload_begin("w/d/e/f", false);
	feed(&up, "new", 3);
	assert_int_equal(slurp("w/d/e/f", &text), 5); /* the old one until the commit */
	free(text);
	res = upload_commit(up);
	expect_ok(&res);
	assert_content("w/d/e/f", "new");
	assert_mode("w/d/e/f", 0755);
}

static void test_upload_abort_leaves_nothing(void **state)
{
	(void)state;
	struct result up = upload_begin("w/d/e/f", false);
	feed(&up, "half", 4);
	upload_abort(up);
	assert_empty_dir("w");
	up = upload_begin("w/d", true);
	feed_zip(&up, "good.zip", 100);
	assert_empty_dir("w"); /* not even a name */
	upload_abort(up);
	assert_empty_dir("w");
}

static void test_upload_errors(void **state)
{
	(void)state;
	put("w/f", "x");
	begin_fails("w", false, CREX_E_IS_A_DIRECTORY, "[Errno 21] Is a directory: 'w'");
	begin_fails("w/f", true, CREX_E_NOT_A_DIRECTORY, "[Errno 20] Not a directory: 'w/f'");
	begin_fails("w/f/g", true, CREX_E_FILE_EXISTS, "[Errno 17] File exists: 'w/f'");
	begin_fails("w/f/g", false, CREX_E_FILE_EXISTS, "[Errno 17] File exists: 'w/f'");
	struct result up = upload_begin("w/d", false); /* becomes a directory while the upload runs */
	assert_int_equal(mkdir("w/d", 0755), 0);
	struct result res = upload_commit(up);
	expect_error(&res, CREX_E_IS_A_DIRECTORY, "[Errno 21] Is a directory: 'w/d'");
	assert_empty_dir("w/d");
}

static void test_unzip_makes_target(void **state)
{
	(void)state;
	unzip_ok("w/a/tree", "good.zip");
	assert_mode("w/a/tree", 0755);
	assert_mode("w/a/tree/run.sh", 0755);
	assert_content("w/a/tree/a/b/c/deep.txt", "deep");
	no_temp_files_in("w/a");
	no_temp_files_in("w/a/tree");
	unzip_ok("w/none", "empty.zip");
	assert_empty_dir("w/none");
}

static void test_unzip_merges(void **state)
{
	(void)state;
	assert_int_equal(mkdir("w/t", 0750) + mkdir("w/t/sub", 0751), 0);
	put("w/t/sub/old.txt", "old");
	put("w/t/sub/kept.txt", "kept");
	assert_int_equal(symlink("sub/kept.txt", "w/t/top.txt"), 0);
	unzip_ok("w/t", "merge.zip");
	assert_content("w/t/sub/new.txt", "new");
	assert_content("w/t/sub/old.txt", "replaced");
	assert_mode("w/t/sub/old.txt", 0755);
	assert_content("w/t/sub/kept.txt", "kept"); /* the link was replaced, not followed */
	assert_content("w/t/top.txt", "top");
	assert_mode("w/t", 0750);
	assert_mode("w/t/sub", 0751);
	no_temp_files_in("w/t");
	assert_int_equal(symlink("t", "w/link"), 0); /* the target itself may be a link: the client has named it */
	unzip_ok("w/link", "stored.zip");
	assert_content("w/t/f", "content that counts");
}

static void test_unzip_conflicts_change_nothing(void **state)
{
	(void)state;
	assert_int_equal(mkdir("w/t", 0755) + mkdir("w/t/top.txt", 0755), 0);
	struct result res = unzip_to("w/t", "merge.zip");
	expect_error(&res, CREX_E_IS_A_DIRECTORY, "[Errno 21] Is a directory: 'top.txt'");
	assert_missing("w/t/sub");
	assert_int_equal(rmdir("w/t/top.txt"), 0);
	assert_int_equal(mkdir("w/outside", 0755) + symlink("../outside", "w/t/sub"), 0);
	res = unzip_to("w/t", "merge.zip");
	expect_error(&res, CREX_E_VALUE, "zip entry would go through the symbolic link 'sub'");
	assert_empty_dir("w/outside");
	assert_missing("w/t/top.txt");
	assert_int_equal(unlink("w/t/sub"), 0);
	put("w/t/sub", "a file");
	res = unzip_to("w/t", "merge.zip");
	expect_error(&res, CREX_E_NOT_A_DIRECTORY, "[Errno 20] Not a directory: 'sub'");
	no_temp_files_in("w/t");
}

static void test_unzip_other_file_system(void **state)
{
	(void)state;
	assert_int_equal(mkdir("w/t", 0755), 0);
	put("w/t/top.txt", "old");
	faults.rename_errno = EXDEV;
	unzip_ok("w/t", "merge.zip");
	faults_clear();
	assert_content("w/t/sub/new.txt", "new");
	assert_content("w/t/top.txt", "top");
	assert_mode("w/t/sub/old.txt", 0755);
	no_temp_files_in("w/t");
	no_temp_files_in("w/t/sub");
}

static void test_bad_archives_leave_nothing(void **state)
{
	(void)state;
	static const char *const bad[] = {"nozip.zip", "badcrc.zip",   "dotdot.zip", "absolute.zip", "encrypted.zip",
					  "short.zip", "conflict.zip", "nul.zip",    "nothing.zip"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct result res = unzip_to("w/new/tree", bad[i]);
		assert_int_not_equal(res.err.code, CREX_OK);
		result_clear(&res);
		assert_empty_dir("w");
	}
	assert_int_equal(mkdir("w/t", 0755), 0);
	struct result res = unzip_to("w/t", "badcrc.zip");
	expect_error(&res, CREX_E_VALUE, "Bad CRC-32 for file 'f'");
	assert_empty_dir("w/t");
	rt.config.max_unzip = 1 << 20;
	res = unzip_to("w/t", "bomb.zip");
	rt.config.max_unzip = MAX_UNZIP;
	expect_error(&res, CREX_E_LIMIT, "archive expands to more than the limit of 1048576 bytes");
	assert_empty_dir("w/t");
}

static void test_concurrent_uploads(void **state)
{
	(void)state;
	enum { N = 12 };
	struct result up[N] = {0}, res[N] = {0};
	char target[N][32];
	for (int i = 0; i < N; i++) { /* pairs share a target */
		snprintf(target[i], sizeof target[i], "w/tools/x%d", i / 2);
		local_upload_begin(&rt, view(target[i]), true, on_begun, &up[i]);
	}
	uv_run(rt.loop, UV_RUN_DEFAULT);
	for (int i = 0; i < N; i++) {
		assert_int_equal(up[i].err.code, CREX_OK);
		feed_zip(&up[i], i & 1 ? "merge.zip" : "good.zip", 0);
	}
	for (int i = 0; i < N; i++)
		local_upload_commit(up[i].up, on_done, &res[i]);
	uv_run(rt.loop, UV_RUN_DEFAULT);
	for (int i = 0; i < N; i++) {
		assert_int_equal(res[i].calls, 1);
		expect_ok(&res[i]);
		char path[512];
		snprintf(path, sizeof path, "%s/%s", target[i], i & 1 ? "sub/new.txt" : "a/b/c/deep.txt");
		assert_content(path, i & 1 ? "new" : "deep");
		no_temp_files_in(target[i]);
	}
	no_temp_files_in("w/tools");
}

static void test_disk_fills_up_while_extracting(void **state)
{
	(void)state;
	struct result begun = upload_begin("w/t", true);
	feed_zip(&begun, "good.zip", 0);
	faults.write_errno = ENOSPC;
	faults.write_after = 500;
	struct result res = upload_commit(begun);
	faults_clear();
	assert_int_equal(res.err.code, CREX_E_OS);
	assert_non_null(strstr(res.err.message, "[Errno 28] No space left on device"));
	result_clear(&res);
	assert_empty_dir("w");
}

/* --- all of it ------------------------------------------------------------------------------------------------- */

static void test_memory_runs_out(void **state)
{
	(void)state;
	bool failed = true;
	int n;
	for (n = 1; failed; n++) {
		assert_true(n < 500);
		struct result res[3] = {{0}}, begun = {0};
		const struct crex_write_file_request put_req = {view("w/d/f"), view("text")};
		const struct crex_read_file_request get_req = {view("w/d/f"), view("utf-8"), {NULL, 0}};
		faults.fail_alloc = n;
		local_write_file(&rt, &put_req, on_done, &res[0]);
		uv_run(rt.loop, UV_RUN_DEFAULT);
		local_read_file(&rt, &get_req, on_text, &res[1]);
		uv_run(rt.loop, UV_RUN_DEFAULT);
		local_upload_begin(&rt, view("w/d/g"), false, on_begun, &begun);
		uv_run(rt.loop, UV_RUN_DEFAULT);
		if (begun.up)
			local_upload_commit(begun.up, on_done, &res[2]);
		uv_run(rt.loop, UV_RUN_DEFAULT);
		failed = faults.fail_alloc <= 0;
		faults_clear();
		assert_int_equal(res[0].calls + res[1].calls + begun.calls + res[2].calls, begun.up ? 4 : 3);
		assert_int_equal(rt.holds, 0);
		for (int i = 0; i < 3; i++)
			result_clear(&res[i]);
		result_clear(&begun);
		no_temp_files_in("w");
		wipe("w/d");
	}
	assert_true(n > 10);
}

static void test_closing_engine_takes_nothing_new(void **state)
{
	(void)state;
	rt.closing = true;
	rt.holds++; /* nothing here may free it */
	write_fails("w/f", "x", CREX_E_SWEREX, "the runtime is closing");
	struct result res = read_path("zips/good.zip");
	expect_error(&res, CREX_E_SWEREX, "the runtime is closing");
	begin_fails("w/f", false, CREX_E_SWEREX, "the runtime is closing");
	rt.closing = false;
	rt.holds--;
}

int main(void)
{
#define FILE_TEST(fn) cmocka_unit_test_setup_teardown(fn, begin_test, end_test)
	const struct CMUnitTest tests[] = {
		FILE_TEST(test_read),
		FILE_TEST(test_read_errors),
		FILE_TEST(test_read_undecodable_name),
		FILE_TEST(test_read_special_files),
		FILE_TEST(test_read_limit),
		FILE_TEST(test_write),
		FILE_TEST(test_write_keeps_mode_and_owner),
		FILE_TEST(test_write_is_atomic),
		FILE_TEST(test_write_through_links),
		FILE_TEST(test_write_in_place),
		FILE_TEST(test_write_errors),
		FILE_TEST(test_write_permissions),
		FILE_TEST(test_write_faults),
		FILE_TEST(test_upload),
		FILE_TEST(test_upload_abort_leaves_nothing),
		FILE_TEST(test_upload_errors),
		FILE_TEST(test_unzip_makes_target),
		FILE_TEST(test_unzip_merges),
		FILE_TEST(test_unzip_conflicts_change_nothing),
		FILE_TEST(test_unzip_other_file_system),
		FILE_TEST(test_bad_archives_leave_nothing),
		FILE_TEST(test_concurrent_uploads),
		FILE_TEST(test_disk_fills_up_while_extracting),
		FILE_TEST(test_memory_runs_out),
		FILE_TEST(test_closing_engine_takes_nothing_new),
	};
	uv_loop_t loop;
	if (uv_loop_init(&loop) < 0)
		return 1;
	rt.loop = &loop;
	int failed = cmocka_run_group_tests(tests, filetest_begin, filetest_end);
	return uv_loop_close(&loop) < 0 ? 1 : failed;
}
