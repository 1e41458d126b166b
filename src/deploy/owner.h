/* deploy/owner.h: which program a sandbox belongs to, as a text that can be judged later, by another program. */
#ifndef DEPLOY_OWNER_H
#define DEPLOY_OWNER_H

#include <stdbool.h>

/* Of this process: "host/boot/space/pid/start". Caller frees; NULL: out of memory. */
char *owner_of_this_process(void);
/* Whether the process that such a text names is certainly gone. */
bool owner_is_gone(const char *owner);

#endif
