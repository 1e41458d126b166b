/* server/libc_scan.c: a scanf that is as small as its uses, for the static build.
 *
 * glibc's brings the conversions to all floating-point types, 80 KB of which nothing is needed: libuv refers to sscanf
 * and fscanf in functions that nobody here calls (uv_cpu_info and its like), glibc in a branch of pathconf, and our own
 * sources read a few integers out of /proc. So these definitions take its place. They know blanks, literal text and
 * %c %d %u %x with the lengths l and ll; anything else aborts at its first use rather than convert wrongly. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Both names that glibc's headers give to each of them, depending on the C standard in force. */
#define LIBC_NAME(name) __asm__(name) __attribute__((used, visibility("default")))
int scan_string(const char *text, const char *format, ...) LIBC_NAME("sscanf");
int scan_string99(const char *text, const char *format, ...) LIBC_NAME("__isoc99_sscanf");
int scan_file(FILE *file, const char *format, ...) LIBC_NAME("fscanf");
int scan_file99(FILE *file, const char *format, ...) LIBC_NAME("__isoc99_fscanf");

struct scan {
	const char *text;
	va_list ap;
};

static void skip_blanks(struct scan *s)
{
	while (isspace((unsigned char)*s->text))
		s->text++;
}

static void store(struct scan *s, int longs, unsigned long long value)
{
	if (longs == 2)
		*va_arg(s->ap, unsigned long long *) = value;
	else if (longs == 1)
		*va_arg(s->ap, unsigned long *) = (unsigned long)value;
	else
		*va_arg(s->ap, unsigned *) = (unsigned)value;
}

/* False when the text has no such number. */
static int convert(struct scan *s, char conversion, int longs)
{
	unsigned long long value;
	char *end;
	switch (conversion) {
	case 'c': *va_arg(s->ap, char *) = *s->text++; return 1;
	case 'd': value = (unsigned long long)strtoll(s->text, &end, 10); break;
	case 'u': value = strtoull(s->text, &end, 10); break;
	case 'x': value = strtoull(s->text, &end, 16); break;
	default: abort();
	}
	if (end == s->text)
		return 0;
	store(s, longs, value);
	s->text = end;
	return 1;
}

static int scan(struct scan *s, const char *format)
{
	int done = 0;
	for (const char *f = format; *f; f++) {
		int longs = 0;
		if (isspace((unsigned char)*f)) {
			skip_blanks(s);
		} else if (*f != '%') {
			if (*s->text != *f)
				return done || *s->text ? done : EOF;
			s->text++;
		} else {
			while (*++f == 'l')
				longs++;
			if (*f != 'c')
				skip_blanks(s);
			if (!*s->text)
				return done ? done : EOF;
			if (!convert(s, *f, longs))
				return done;
			done++;
		}
	}
	return done;
}

int scan_string(const char *text, const char *format, ...)
{
	struct scan s = {.text = text};
	va_start(s.ap, format);
	int done = scan(&s, format);
	va_end(s.ap);
	return done;
}

int scan_string99(const char *text, const char *format, ...)
{
	struct scan s = {.text = text};
	va_start(s.ap, format);
	int done = scan(&s, format);
	va_end(s.ap);
	return done;
}

int scan_file(FILE *file, const char *format, ...)
{
	(void)file;
	(void)format;
	abort();
}

int scan_file99(FILE *file, const char *format, ...)
{
	(void)file;
	(void)format;
	abort();
}
