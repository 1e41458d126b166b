/* tests/unit/fake_engine.h: an engine without processes, for tests of the server above it.
 *
 * run_in_session: "hang" is answered by fake_release, "big N" with N bytes, everything else with itself. Uploads go
 * into a file without a name, whose content is kept at commit. */
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include "runtime/local/local.h"
#include "runtime/local/stream_service.h"

struct fake_stats {
	unsigned runs; /* commands started */
	unsigned begun, committed, aborted;
	char target[256];
	bool unzip;
	char *content; /* of the last committed upload; owned by the engine */
	size_t content_len;
	unsigned stream_drains, stream_hang_ups;
	size_t stream_waiting; /* as the last send said */
};

struct fake_stats *fake_stats(struct local *rt);
bool fake_release(struct local *rt); /* false: nothing hangs */
void fake_fail_begin(struct local *rt, bool on);

#endif
