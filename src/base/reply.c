/* base/reply.c: freeing what a runtime has answered.
 *
 * Replies are plain structs that any runtime fills (the local engine, a remote one, a dummy) and that anybody frees, so
 * their end belongs to no runtime but to the base that all of them stand on. */
#include <crex/runtime.h>

#include <stdlib.h>

void crex_text_clear(struct crex_text *text)
{
	if (!text)
		return;
	free(text->data);
	*text = (struct crex_text)CREX_TEXT_INIT;
}

void crex_is_alive_clear(struct crex_is_alive *alive)
{
	if (!alive)
		return;
	free(alive->message);
	*alive = (struct crex_is_alive)CREX_IS_ALIVE_INIT;
}

void crex_observation_clear(struct crex_observation *obs)
{
	if (!obs)
		return;
	free(obs->output);
	free(obs->expect_string);
	*obs = (struct crex_observation)CREX_OBSERVATION_INIT;
}

void crex_execute_result_clear(struct crex_execute_result *res)
{
	if (!res)
		return;
	free(res->out);
	free(res->err);
	*res = (struct crex_execute_result)CREX_EXECUTE_RESULT_INIT;
}
