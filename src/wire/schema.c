/* wire/schema.c: the schema of the requests, as tables that both directions read: decode.c what a server gets,
 * request.c what a client sends.
 *
 * The fields stand in the order of SWE-ReX's models, because findings are reported in that order. Sessions and actions
 * are unions with a tag there (session_type, action_type), so the tag's value is part of each finding's place:
 * ["body","bash","command"]. */
#include "wire/schema.h"

#include <stddef.h>

#define FIELD(type, member, kind, required)                            \
	{                                                              \
#member, kind, required, offsetof(struct type, member) \
	}

static const struct check_field create_session_fields[] = {
	FIELD(crex_create_session_request, startup_source, CHECK_STR_LIST, false),
	FIELD(crex_create_session_request, session, CHECK_STR, false),
	FIELD(crex_create_session_request, startup_timeout, CHECK_SECONDS, false),
};

static const struct check_field bash_fields[] = {
	FIELD(crex_bash_action, command, CHECK_STR, true),
	FIELD(crex_bash_action, session, CHECK_STR, false),
	FIELD(crex_bash_action, timeout, CHECK_SECONDS_OR_NULL, false),
	FIELD(crex_bash_action, is_interactive_command, CHECK_BOOL, false),
	FIELD(crex_bash_action, is_interactive_quit, CHECK_BOOL, false),
	FIELD(crex_bash_action, check, CHECK_MODE, false),
	FIELD(crex_bash_action, error_msg, CHECK_STR, false),
	FIELD(crex_bash_action, expect, CHECK_STR_LIST, false),
};

static const struct check_field interrupt_fields[] = {
	FIELD(crex_bash_interrupt_action, session, CHECK_STR, false),
	FIELD(crex_bash_interrupt_action, timeout, CHECK_SECONDS, false),
	FIELD(crex_bash_interrupt_action, n_retry, CHECK_INT, false),
	FIELD(crex_bash_interrupt_action, expect, CHECK_STR_LIST, false),
};

static const struct check_field close_session_fields[] = {{"session", CHECK_STR, false, 0}};

static const struct check_field execute_fields[] = {
	{"command", CHECK_COMMAND, true, 0},
	FIELD(crex_execute_request, timeout, CHECK_SECONDS_OR_NULL, false),
	FIELD(crex_execute_request, shell, CHECK_BOOL, false),
	FIELD(crex_execute_request, check, CHECK_BOOL, false),
	FIELD(crex_execute_request, error_msg, CHECK_STR, false),
	{"env", CHECK_ENV, false, 0},
	FIELD(crex_execute_request, cwd, CHECK_STR_OR_NULL, false),
	FIELD(crex_execute_request, merge_output_streams, CHECK_BOOL, false),
};

static const struct check_field read_file_fields[] = {
	FIELD(crex_read_file_request, path, CHECK_STR, true),
	FIELD(crex_read_file_request, encoding, CHECK_STR_OR_NULL, false),
	FIELD(crex_read_file_request, errors, CHECK_STR_OR_NULL, false),
};

static const struct check_field write_file_fields[] = {
	FIELD(crex_write_file_request, path, CHECK_STR, true),
	FIELD(crex_write_file_request, content, CHECK_STR, true),
};

static const struct check_field open_stream_fields[] = {
	FIELD(crex_stream_request, command, CHECK_STR_LIST, false),
	FIELD(crex_stream_request, shell, CHECK_BOOL, false),
	FIELD(crex_stream_request, tty, CHECK_BOOL, false),
	FIELD(crex_stream_request, rows, CHECK_INT, false),
	FIELD(crex_stream_request, columns, CHECK_INT, false),
	FIELD(crex_stream_request, env, CHECK_STR_LIST, false),
	FIELD(crex_stream_request, cwd, CHECK_STR_OR_NULL, false),
};

#define FIELDS(table) (table), sizeof(table) / sizeof *(table)

static const struct wire_schema schemas[] = {
	[WIRE_CREATE_SESSION] = {"/create_session",
				 "session_type",
				 "'bash'",
				 {{"bash", false, FIELDS(create_session_fields)}}},
	[WIRE_RUN_IN_SESSION] = {"/run_in_session",
				 "action_type",
				 "'bash', 'bash_interrupt'",
				 {{"bash", false, FIELDS(bash_fields)},
				  {"bash_interrupt", true, FIELDS(interrupt_fields)}}},
	[WIRE_CLOSE_SESSION] = {"/close_session",
				"session_type",
				"'bash'",
				{{"bash", false, FIELDS(close_session_fields)}}},
	[WIRE_EXECUTE] = {"/execute", NULL, NULL, {{NULL, false, FIELDS(execute_fields)}}},
	[WIRE_READ_FILE] = {"/read_file", NULL, NULL, {{NULL, false, FIELDS(read_file_fields)}}},
	[WIRE_WRITE_FILE] = {"/write_file", NULL, NULL, {{NULL, false, FIELDS(write_file_fields)}}},
	[WIRE_OPEN_STREAM] = {"/stream", NULL, NULL, {{NULL, false, FIELDS(open_stream_fields)}}},
};

const struct wire_schema *wire_schema(enum wire_request_kind kind)
{
	return &schemas[kind];
}

const char *wire_mode_name(enum crex_check mode)
{
	switch (mode) {
	case CREX_CHECK_RAISE: return "raise";
	case CREX_CHECK_SILENT: return "silent";
	case CREX_CHECK_IGNORE: return "ignore";
	}
	return "raise";
}
