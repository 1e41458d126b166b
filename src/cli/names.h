/* cli/names.h: the sandboxes that have a name and outlive the command that started them.
 *
 * One JSON file a name, NAME.json in $XDG_STATE_HOME/crex/sandboxes: who it is, and the state by which the library
 * finds it again. It holds the sandbox's token: the directory is 0700, the files 0600. */
#ifndef CLI_NAMES_H
#define CLI_NAMES_H

#include <crex/deployment.h>
#include <jansson.h>

enum { NAME_LENGTH_MAX = 63 };

/* Letters, digits and . _ -, beginning with a letter or a digit. */
int names_check(const char *name, struct crex_error *err);

/* "starting" as long as `up` holds the lock, then "running". */
struct sandbox {
	char *name; /* owned */
	/* Owned: {"name", "type", "target", "created", "state": of crex_deployment_detach, or null, then with "plan":
	 * of crex_deployment_plan or null}. NULL when `damage` says what is wrong with its file. */
	json_t *record;
	char *damage;	  /* owned; NULL: none. Of names_list alone */
	bool is_starting; /* somebody holds its lock */
};
void sandbox_deinit(struct sandbox *s);

/* FILE_NOT_FOUND says which name may have been meant. */
int names_load(const char *name, struct sandbox *ret, struct crex_error *err);
/* All of them, by name, those too that can't be read. NULL with *ret_n 0 when there is none; -1 on failure. */
int names_list(struct sandbox **ret, size_t *ret_n, struct crex_error *err);
void names_list_free(struct sandbox *list, size_t n);

/* The lock against two commands that start or stop one name; a descriptor, or -1 (SWEREX: another has it). It goes with
 * the program. */
int names_lock(const char *name, struct crex_error *err);
void names_unlock(const char *name, int fd);

/* Written as a whole or not at all. */
int names_save(const char *name, const json_t *record, struct crex_error *err);
int names_remove(const char *name, struct crex_error *err);

/* The path of a file in crex's own state directory, which is made; caller frees. */
char *state_path(const char *name, struct crex_error *err);

/* The started deployment of a sandbox. */
struct crex_deployment *sandbox_resume(const struct sandbox *s, struct crex_error *err);
/* Takes it down, or what a start has left that was cut off; only for who has its lock. */
int sandbox_stop(const struct sandbox *s, const struct crex_call *call, struct crex_error *err);
/* Lets go of it; the sandbox lives on. NULL is fine. */
void sandbox_release(struct crex_deployment *d);

#define cleanup_sandbox __attribute__((cleanup(sandbox_deinit)))

#endif
