/* base/pyrepr.h: values as Python would print them, for the texts that Python clients show. */
#ifndef BASE_PYREPR_H
#define BASE_PYREPR_H

#include "base/buf.h"

/* repr(str) of UTF-8 text: quotes chosen as Python does, control characters as \n, \x1b; printable non-ASCII stays;
 * bytes that are no UTF-8 become \udcXX. At most six characters come from a byte. */
int pyrepr_str(struct buf *out, const char *s, size_t len);

/* repr(float): "5.0", "0.5", "1e+16", "inf". */
int pyrepr_float(struct buf *out, double value);

#endif
