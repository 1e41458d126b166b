/* test_unzip.c: extraction of sound, broken and hostile archives into an empty directory. */
#include "filetest.h"

#include "runtime/local/unzip.h"

#include <sys/mman.h>

static const struct unzip_limits roomy = {.max_bytes = 64 << 20, .max_entries = 100000};

static int extract_fd(int zip, const struct unzip_limits *limits, struct crex_error *err)
{
	wipe("out");
	assert_int_equal(mkdir("out", 0700), 0);
	int dir = open("out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	int r = unzip_extract(zip, dir, limits, err);
	assert_int_equal(r == 0, err->code == CREX_OK);
	close(dir);
	close(zip);
	return r;
}

static void extract(const char *name)
{
	struct crex_error err = CREX_ERROR_INIT;
	if (extract_fd(open_zip(name), &roomy, &err) != 0)
		fail_msg("%s: %s", name, err.message);
}

static void refuse_with(const char *name, const struct unzip_limits *limits, enum crex_error_code code,
			const char *text)
{
	struct crex_error err = CREX_ERROR_INIT;
	assert_int_equal(extract_fd(open_zip(name), limits, &err), -1);
	if (err.code != code || !strstr(err.message, text))
		fail_msg("%s: %s: %s", name, crex_error_name(err.code), err.message);
	crex_error_clear(&err);
}

static void refuse(const char *name, const char *text)
{
	refuse_with(name, &roomy, CREX_E_VALUE, text);
}

static void test_good(void **state)
{
	(void)state;
	extract("good.zip");
	assert_content("out/run.sh", "#!/bin/sh\n");
	assert_mode("out/run.sh", 0755);
	assert_mode("out/d", 0750);
	assert_mode("out/d/plain.txt", 0644);
	assert_mode("out/d/stored.bin", 0600);
	assert_mode("out/a/b", 0755);
	assert_content("out/a/b/c/deep.txt", "deep");
	assert_mode("out/a/b/c/deep.txt", 0644); /* the owner may always write */
	assert_content("out/empty", "");
	assert_mode("out/nomode.txt", 0644);
	assert_content("out/here/too.txt", "normalised");
	assert_content("out/back\\slash.txt", "one name");
	assert_content("out/\xc3\xbcml\xc3\xa4ut-\xe4\xb8\xad.txt", "utf-8");
	char *bin;
	assert_int_equal(slurp("out/d/stored.bin", &bin), 256);
	for (int i = 0; i < 256; i++)
		assert_int_equal((unsigned char)bin[i], i);
	free(bin);
}

static void test_umask(void **state)
{
	(void)state;
	umask(027);
	extract("good.zip");
	umask(022);
	assert_mode("out/run.sh", 0750);
	assert_mode("out/nomode.txt", 0640);
	assert_mode("out/a", 0750);
}

static void test_odd_but_sound(void **state)
{
	(void)state;
	extract("empty.zip");
	assert_empty_dir("out");
	extract("comment.zip");
	assert_content("out/f", "f");
	extract("prefix.zip");
	assert_content("out/f", "f");
	extract("noname.zip");
	assert_content("out/f", "x");
	extract("zip64.zip");
	char *text;
	assert_int_equal(slurp("out/big", &text), 40 * 49);
	free(text);
}

static void test_names(void **state)
{
	(void)state;
	extract("cp437.zip");
	assert_content("out/caf\xc3\xa9\xc3\x9f", "x");
	refuse_with("badutf8.zip", &roomy, CREX_E_UNICODE, "'utf-8' codec can't decode");
	refuse("nul.zip", "NUL byte in its name: 'name'");
}

static void test_duplicate_last_wins(void **state)
{
	(void)state;
	extract("dup.zip");
	assert_content("out/ff", "last");
	assert_mode("out/ff", 0755);
}

static void test_setuid_dropped(void **state)
{
	(void)state;
	extract("setuid.zip");
	assert_mode("out/su", 0755);
}

static void assert_link(const char *path, const char *want)
{
	char text[100] = "";
	assert_true(readlink(path, text, sizeof text - 1) > 0);
	assert_string_equal(text, want);
}

static void test_links_are_files(void **state)
{
	(void)state;
	extract("symlink.zip");
	assert_content("out/link", "/etc");
	struct stat st;
	assert_int_equal(lstat("out/link", &st), 0);
	assert_true(S_ISREG(st.st_mode));
	refuse_with("linkdir.zip", &roomy, CREX_E_NOT_A_DIRECTORY, "link/evil");
	assert_missing("/tmp/evil");
}

static void test_inner_links_are_links(void **state)
{
	(void)state;
	extract("links.zip");
	assert_link("out/in", "d/up"); /* the last of its name */
	assert_link("out/d/up", "../in");
	assert_content("out/out", "../x");
	assert_content("out/d/far", "../../x");
	assert_content("out/sly", "d/../x");
	assert_content("out/none", "");
}

static void test_escapes(void **state)
{
	(void)state;
	refuse("dotdot.zip", "'../evil' would leave the target directory");
	refuse("inner.zip", "would leave the target directory");
	refuse("absolute.zip", "'/tmp/evil' has an absolute path");
	assert_missing("evil");
	assert_missing("/tmp/evil");
}

static void test_conflicts(void **state)
{
	(void)state;
	refuse_with("conflict.zip", &roomy, CREX_E_NOT_A_DIRECTORY, "[Errno 20] Not a directory: 'a/b'");
	refuse_with("filedir.zip", &roomy, CREX_E_IS_A_DIRECTORY, "[Errno 21] Is a directory: 'a'");
	refuse("toodeep.zip", "too many directories deep");
}

static void test_broken(void **state)
{
	(void)state;
	refuse("nozip.zip", "File is not a zip file");
	refuse("nothing.zip", "File is not a zip file");
	refuse("badcrc.zip", "Bad CRC-32 for file 'f'");
	refuse("short.zip", "'f' is shorter than its size says");
	refuse("long.zip", "'f'");
	refuse("encrypted.zip", "File 'f' is encrypted, password required for extraction");
	refuse("bzip2.zip", "That compression method is not supported");
}

static void test_limits(void **state)
{
	(void)state;
	const struct unzip_limits small = {.max_bytes = 1 << 20, .max_entries = 3}, none = {0, 0};
	refuse_with("bomb.zip", &small, CREX_E_LIMIT, "archive expands to more than the limit of 1048576 bytes");
	struct stat st;
	assert_int_equal(stat("out/bomb", &st), 0);
	assert_true(st.st_size <= 1 << 20);
	refuse_with("good.zip", &small, CREX_E_LIMIT, "archive has more than the limit of 3 entries");
	struct crex_error err = CREX_ERROR_INIT;
	assert_int_equal(extract_fd(open_zip("bomb.zip"), &none, &err), 0);
}

static void test_count_of_65535(void **state)
{
	(void)state;
	extract("count.zip");
	assert_content("out/0/0", "");
	assert_content("out/62/65534", "");
}

static int zip_of(const char *data, size_t len)
{
	int fd = memfd_create("zip", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	return fd;
}

static void test_every_prefix_is_refused(void **state)
{
	(void)state;
	char *zip;
	size_t len = slurp("zips/good.zip", &zip);
	for (size_t i = 0; i < len; i++) {
		struct crex_error err = CREX_ERROR_INIT;
		assert_int_equal(extract_fd(zip_of(zip, i), &roomy, &err), -1);
		assert_non_null(err.message);
		crex_error_clear(&err);
	}
	free(zip);
}

static void test_every_byte_may_be_wrong(void **state)
{
	(void)state;
	char *zip;
	size_t len = slurp("zips/good.zip", &zip), refused = 0;
	for (size_t i = 0; i < len; i++) {
		struct crex_error err = CREX_ERROR_INIT;
		zip[i] = (char)~zip[i];
		refused += extract_fd(zip_of(zip, len), &roomy, &err) != 0;
		zip[i] = (char)~zip[i];
		crex_error_clear(&err);
	}
	assert_true(refused > len / 4);
	free(zip);
}

static void test_full_disk(void **state)
{
	(void)state;
	faults.write_errno = ENOSPC;
	faults.write_after = 100;
	refuse_with("good.zip", &roomy, CREX_E_OS, "[Errno 28] No space left on device: ");
	faults_clear();
}

static void test_short_and_interrupted_writes(void **state)
{
	(void)state;
	faults.write_short = 3;
	faults.write_eintr = 1;
	extract("good.zip");
	faults_clear();
	char *text;
	assert_int_equal(slurp("out/d/plain.txt", &text), 40 * 49);
	free(text);
}

static void test_memory_runs_out(void **state)
{
	(void)state;
	int n = 0, r = -1;
	for (n = 1; r != 0 && n < 10000; n++) {
		struct crex_error err = CREX_ERROR_INIT;
		int zip = open_zip("good.zip");
		wipe("out");
		assert_int_equal(mkdir("out", 0700), 0);
		int dir = open("out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		faults.fail_alloc = n;
		r = unzip_extract(zip, dir, &roomy, &err);
		bool hit = faults.fail_alloc <= 0;
		faults_clear();
		assert_int_equal(r == 0, err.code == CREX_OK);
		assert_true(hit || r == 0);
		crex_error_clear(&err);
		close(dir);
		close(zip);
	}
	assert_true(n > 5);
	assert_content("out/a/b/c/deep.txt", "deep");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_umask),
		cmocka_unit_test(test_odd_but_sound),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_duplicate_last_wins),
		cmocka_unit_test(test_setuid_dropped),
		cmocka_unit_test(test_links_are_files),
		cmocka_unit_test(test_inner_links_are_links),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_count_of_65535),
		cmocka_unit_test(test_every_prefix_is_refused),
		cmocka_unit_test(test_every_byte_may_be_wrong),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_short_and_interrupted_writes),
		cmocka_unit_test(test_memory_runs_out),
	};
	return cmocka_run_group_tests(tests, filetest_begin, filetest_end);
}
