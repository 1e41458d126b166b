/* runtime/pack.h: a file or a directory of this machine as the bytes of an upload: the file as it is, the directory as
 * a zip archive that is made while it is read. */
#ifndef RUNTIME_PACK_H
#define RUNTIME_PACK_H

#include <crex/runtime.h>
#include <sys/types.h>

struct pack;

/* Opens the request's source and looks at all of it. The request must live until pack_free. NULL: err is set. */
struct pack *pack_open(const struct crex_upload_request *req, struct crex_error *err);
struct pack *pack_free(struct pack *p); /* NULL is fine; returns NULL */

bool pack_is_archive(const struct pack *p);	    /* the source is a directory */
unsigned long long pack_size(const struct pack *p); /* bytes of its files, before packing */

/* Back to the first byte. */
int pack_rewind(struct pack *p, struct crex_error *err);
/* The next bytes; 0 at the end, -1 with err. Tells the request's progress, at most every 50 ms. */
ssize_t pack_read(struct pack *p, char *data, size_t room, struct crex_error *err);
/* The upload has arrived: the last that progress is told. */
void pack_arrived(struct pack *p);

#endif
