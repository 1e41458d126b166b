/* base/version.c: which library this is, told at run time.
 *
 * A program compares it with the CREX_VERSION_* of the headers that it was compiled with. The text is made of the same
 * three numbers, so the two can't drift apart. */
#include <crex/crex.h>

#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

const char *crex_version(void)
{
	return TEXT(CREX_VERSION_MAJOR) "." TEXT(CREX_VERSION_MINOR) "." TEXT(CREX_VERSION_PATCH);
}
