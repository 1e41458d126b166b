/* deploy/server_binary.c: finding the server program for an image's architecture.
 *
 * The file's own ELF header decides, not its name: a server of another architecture, or one that needs libraries that
 * no image has to have, would fail inside of the sandbox with words that nobody understands ("no such file or
 * directory" for a file that is there). */
#include "deploy/server_binary.h"

#include <crex/deployment.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *image; /* of the kernel; of images */
	unsigned short machine;
} architectures[] = {{"x86_64", "amd64", EM_X86_64}, {"aarch64", "arm64", EM_AARCH64}};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

const char *server_binary_architecture(const char *image_architecture)
{
	for (size_t i = 0; i < N_ARCHITECTURES; i++)
		if (strcmp(architectures[i].image, image_architecture) == 0 ||
		    strcmp(architectures[i].name, image_architecture) == 0)
			return architectures[i].name;
	return NULL;
}

enum verdict { FITS, IS_ABSENT, IS_NO_PROGRAM, IS_OF_ANOTHER_ARCHITECTURE, IS_NOT_STATIC };

/* Both architectures are little-endian with 64 bits, as is what reads this. */
static enum verdict judge(const char *path, const char *architecture)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr head;
	if (fd < 0)
		return IS_ABSENT;
	if (read(fd, &head, sizeof head) != (ssize_t)sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB)
		return IS_NO_PROGRAM;
	for (size_t i = 0; i < N_ARCHITECTURES; i++)
		if (strcmp(architectures[i].name, architecture) == 0 && architectures[i].machine != head.e_machine)
			return IS_OF_ANOTHER_ARCHITECTURE;
	for (unsigned i = 0; i < head.e_phnum; i++) {
		Elf64_Phdr segment;
		off_t at = (off_t)(head.e_phoff + (Elf64_Off)i * sizeof segment);
		if (pread(fd, &segment, sizeof segment, at) != (ssize_t)sizeof segment)
			return IS_NO_PROGRAM;
		if (segment.p_type == PT_INTERP)
			return IS_NOT_STATIC;
	}
	return FITS;
}

static char *absolute(const char *path, struct crex_error *err)
{
	char *real = realpath(path, NULL);
	if (!real)
		crex_error_set_errno(err, errno, path);
	return real;
}

static char *named_by_user(const char *path, const char *architecture, struct crex_error *err)
{
	const char *problem = NULL;
	switch (judge(path, architecture)) {
	case FITS: return absolute(path, err);
	case IS_ABSENT: crex_error_set_errno(err, errno, path); return NULL;
	case IS_NO_PROGRAM: problem = "is not a Linux program"; break;
	case IS_OF_ANOTHER_ARCHITECTURE: problem = "is not for the image's architecture"; break;
	case IS_NOT_STATIC: problem = "is not statically linked, so most images can't run it"; break;
	}
	crex_error_set(err, CREX_E_CONFIG, "server_path: %s %s (%s is needed)", path, problem, architecture);
	return NULL;
}

/* True: *ret is set. */
static bool look_in(const char *directory, const char *architecture, struct buf *looked, char **ret)
{
	const char *const names[] = {architecture, NULL};
	for (size_t i = 0; i < 2; i++) {
		cleanup_free char *path = NULL;
		if (asprintf(&path, "%s/swerex-remote%s%s", directory, names[i] ? "-" : "", names[i] ? names[i] : "") <
		    0) {
			path = NULL;
			return false;
		}
		if (judge(path, architecture) == FITS && (*ret = realpath(path, NULL)))
			return true;
	}
	buf_printf(looked, "%s%s", looked->len ? ", " : "", directory);
	return false;
}

/* The directory of the running program; false: not known. */
static bool program_directory(char *ret, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", ret, size - 1);
	if (n <= 0)
		return false;
	ret[n] = '\0';
	char *slash = strrchr(ret, '/');
	if (slash)
		*slash = '\0';
	return slash != NULL;
}

char *server_binary_find(const char *path, const char *architecture, struct crex_error *err)
{
	char program[PATH_MAX], beside[PATH_MAX + 32];
	char *found = NULL;
	cleanup_buf struct buf looked;
	buf_init(&looked, 4096 + 4 * PATH_MAX);
	if (path)
		return named_by_user(path, architecture, err);
	const char *set = getenv("CREX_SERVER_DIR");
	if (set && *set && look_in(set, architecture, &looked, &found))
		return found;
	if (program_directory(program, sizeof program)) {
		snprintf(beside, sizeof beside, "%s/../libexec/crex", program);
		if (look_in(program, architecture, &looked, &found) || look_in(beside, architecture, &looked, &found))
			return found;
	}
	if (look_in(CREX_LIBEXECDIR, architecture, &looked, &found))
		return found;
	if (*CREX_DISTDIR && look_in(CREX_DISTDIR, architecture, &looked, &found))
		return found;
	crex_error_set(err, CREX_E_FILE_NOT_FOUND,
		       "no static swerex-remote for %s: make it (script/build) or name it (server_path, "
		       "CREX_SERVER_DIR); looked in %s",
		       architecture, looked.data ? looked.data : "");
	return NULL;
}

int crex_server_binary(const char *architecture, struct crex_text *ret, struct crex_error *err)
{
	const char *name = server_binary_architecture(architecture);
	if (!name)
		return crex_error_set(err, CREX_E_UNSUPPORTED, "no server is built for %s", architecture);
	char *path = server_binary_find(NULL, name, err);
	if (!path)
		return -1;
	*ret = (struct crex_text){path, strlen(path)};
	return 0;
}
