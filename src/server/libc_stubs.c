/* server/libc_stubs.c: what the static build must not pull in.
 *
 * libuv's uv_os_homedir and uv_os_get_passwd, which nobody here calls, refer to getpwuid_r. In a static link that
 * would bring glibc's NSS with it: some 300 KB whose only use is to load modules out of the image, which a static
 * binary can't. This definition takes its place and says what is true: no such entry. */
#include <pwd.h>
#include <stddef.h>

int getpwuid_r(uid_t uid, struct passwd *restrict pwd, char *restrict buffer, size_t size,
	       struct passwd **restrict result)
{
	(void)uid;
	(void)pwd;
	(void)buffer;
	(void)size;
	*result = NULL;
	return 0;
}
