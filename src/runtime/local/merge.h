/* runtime/local/merge.h: moving a staged tree into a directory that exists. Blocks (worker threads). */
#ifndef LOCAL_MERGE_H
#define LOCAL_MERGE_H

#include <crex/error.h>

/* Moves everything in `from` (which only we know) into `to`: directories are merged, files replace files and links.
 * All conflicts (file against directory, a link where the tree has a directory, no permission) are found before
 * anything is moved. Both fds are borrowed. 0, or -1 with err. */
int merge_into(int from, int to, struct crex_error *err);

#endif
