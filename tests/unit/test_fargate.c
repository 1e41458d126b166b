/* The parts of the Fargate deployment that need no AWS: its readers on all that they may meet, and what configs may
 * say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "deploy/fargate/fargate.h"
#include "deploy/fargate/credentials.h"
#include "deploy/fargate/profile.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- XML ---- */

static const char groups[] = "<?xml version=\"1.0\"?>\n<R xmlns=\"http://ec2/\"><set><item><id>a&amp;b</id></item>"
			     "<other/><item><id><![CDATA[<c>]]></id></item></set></R>";

static void xml_is_looked_up_by_path(void **state)
{
	(void)state;
	cleanup_xml struct xml_node *root = xml_parse(groups, sizeof groups - 1);
	assert_non_null(root);
	assert_string_equal(xml_text(root, "set/item/id"), "a&b");
	assert_string_equal(xml_text(root, "set/other"), "");
	assert_null(xml_text(root, "set/nothing"));
	assert_null(xml_text(root, "se"));
	assert_null(xml_find(NULL, "set"));
	const struct xml_node *one = xml_first(xml_find(root, "set"), "item");
	const struct xml_node *two = xml_next(one);
	assert_string_equal(xml_text(two, "id"), "<c>");
	assert_null(xml_next(two));
}

static void every_prefix_of_xml_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof groups - 1; len++) {
		cleanup_free char *copy = malloc(len + 1); /* so that a sanitizer sees the end */
		memcpy(copy, groups, len);
		assert_null(xml_parse(copy, len));
	}
}

static void xml_that_aws_never_sends_is_refused(void **state)
{
	(void)state;
	static const char entities[] = "<!DOCTYPE r [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><r>&b;</r>";
	assert_null(xml_parse(entities, sizeof entities - 1));
	char deep[4096];
	for (int depth = 30; depth <= 40; depth += 10) {
		size_t n = 0;
		for (int i = 0; i < depth; i++)
			n += (size_t)snprintf(deep + n, sizeof deep - n, "<a>");
		for (int i = 0; i < depth; i++)
			n += (size_t)snprintf(deep + n, sizeof deep - n, "</a>");
		cleanup_xml struct xml_node *root = xml_parse(deep, n);
		assert_int_equal(root != NULL, depth == 30);
	}
}

/* ---- refusals ---- */

static struct aws_refusal read_refusal(int status, const char *body)
{
	struct aws_refusal r;
	aws_refusal_read(&r, status, body, strlen(body));
	return r;
}

static void refusals_of_all_services(void **state)
{
	(void)state;
	static const struct {
		int status;
		const char *body, *code, *message;
		enum aws_kind kind;
		enum crex_error_code error;
	} rows[] = {
		{400, "{\"__type\":\"com.amazon.coral.service#ThrottlingException\",\"message\":\"Rate exceeded\"}",
		 "ThrottlingException", "Rate exceeded", AWS_THROTTLED, CREX_E_LIMIT},
		{400, "{\"__type\":\"ClientException:http://x/\",\"Message\":\"no\\nsuch\"}", "ClientException",
		 "no such", AWS_REFUSED, CREX_E_SWEREX},
		{400, "<ErrorResponse><Error><Code>Throttling</Code><Message>m</Message></Error></ErrorResponse>",
		 "Throttling", "m", AWS_THROTTLED, CREX_E_LIMIT},
		{503,
		 " <Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>m</Message></Error></Errors>"
		 "</Response>",
		 "RequestLimitExceeded", "m", AWS_THROTTLED, CREX_E_LIMIT},
		{403, "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>",
		 "SignatureDoesNotMatch", "", AWS_UNAUTHENTICATED, CREX_E_AUTHENTICATION},
		{400, "{\"__type\":\"ExpiredTokenException\"}", "ExpiredTokenException", "", AWS_EXPIRED,
		 CREX_E_AUTHENTICATION},
		{400, "{\"__type\":\"AccessDeniedException\",\"message\":\"m\"}", "AccessDeniedException", "m",
		 AWS_DENIED, CREX_E_PERMISSION},
		{502, "<html>Bad gateway</html>", "NoErrorCode", "", AWS_TRANSIENT, CREX_E_CONNECTION},
		{500, "", "NoErrorCode", "", AWS_TRANSIENT, CREX_E_CONNECTION},
		{400, "not JSON", "NoErrorCode", "", AWS_REFUSED, CREX_E_SWEREX},
		{400, "[]", "NoErrorCode", "", AWS_REFUSED, CREX_E_SWEREX},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		struct aws_refusal r = read_refusal(rows[i].status, rows[i].body);
		assert_string_equal(r.code, rows[i].code);
		assert_string_equal(r.message, rows[i].message);
		assert_int_equal(aws_refusal_kind(&r), rows[i].kind);
		assert_int_equal(aws_refusal_tell(&r, "ecs", "RunTask", &err), -1);
		assert_int_equal(err.code, rows[i].error);
		assert_non_null(strstr(err.message, "ecs:RunTask"));
	}
}

static void long_messages_are_cut_between_characters(void **state)
{
	(void)state;
	char body[8192] = "{\"__type\":\"X\",\"message\":\"";
	size_t n = strlen(body);
	for (int i = 0; i < 1000; i++)
		n += (size_t)snprintf(body + n, sizeof body - n, "\xE2\x82\xAC");
	snprintf(body + n, sizeof body - n, "\"}");
	struct aws_refusal r = read_refusal(400, body);
	size_t len = strlen(r.message);
	assert_in_range(len, sizeof r.message - 4, sizeof r.message - 1);
	assert_int_equal(len % 3, 0);
}

/* ---- endpoints ---- */

static void endpoints(void **state)
{
	(void)state;
	char url[AWS_URL_MAX];
	unsetenv("AWS_ENDPOINT_URL");
	unsetenv("AWS_ENDPOINT_URL_ECS");
	assert_int_equal(aws_endpoint(AWS_ECS, "eu-west-1", NULL, url), 0);
	assert_string_equal(url, "https://ecs.eu-west-1.amazonaws.com");
	assert_int_equal(aws_endpoint(AWS_IAM, "eu-west-1", NULL, url), 0);
	assert_string_equal(url, "https://iam.amazonaws.com");
	assert_int_equal(aws_endpoint(AWS_IAM, "us-gov-east-1", NULL, url), 0);
	assert_string_equal(url, "https://iam.us-gov.amazonaws.com");
	assert_int_equal(aws_endpoint(AWS_EC2, "cn-north-1", NULL, url), 0);
	assert_string_equal(url, "https://ec2.cn-north-1.amazonaws.com.cn");
	setenv("AWS_ENDPOINT_URL", "http://all/", 1);
	setenv("AWS_ENDPOINT_URL_ECS", "http://ecs//", 1);
	assert_int_equal(aws_endpoint(AWS_ECS, "eu-west-1", NULL, url), 0);
	assert_string_equal(url, "http://ecs");
	assert_int_equal(aws_endpoint(AWS_EC2, "eu-west-1", NULL, url), 0);
	assert_string_equal(url, "http://all");
	assert_int_equal(aws_endpoint(AWS_ECS, "eu-west-1", "http://config", url), 0);
	assert_string_equal(url, "http://config");
	assert_int_equal(aws_endpoint(AWS_ECS, "eu-west-1", "ftp://config", url), -1);
	unsetenv("AWS_ENDPOINT_URL");
	unsetenv("AWS_ENDPOINT_URL_ECS");
	assert_string_equal(aws_signing_region(AWS_IAM, "eu-west-1"), "us-east-1");
	assert_string_equal(aws_signing_region(AWS_ECS, "eu-west-1"), "eu-west-1");
	assert_string_equal(aws_partition("cn-north-1"), "aws-cn");
}

/* ---- settings ---- */

static int settings_of(const char *arguments, struct fargate_settings *ret, struct crex_error *err)
{
	struct crex_fargate_config c = CREX_FARGATE_CONFIG_INIT;
	c.fargate_args = arguments;
	return fargate_settings_read(&c, ret, err);
}

static void sizes_that_are_sold(void **state)
{
	(void)state;
	static const struct {
		const char *arguments, *cpu, *memory; /* cpu NULL: not sold */
		int storage;
	} rows[] = {
		{NULL, "1024", "2048", 21},
		{"{}", "1024", "2048", 21},
		{"{\"vcpus\": 4, \"memory\": \"30720\"}", "4096", "30720", 21},
		{"{\"vcpus\": \"0.25\", \"memory\": \"0.5 GB\"}", "256", "512", 21},
		{"{\"cpu\": \"16 vCPU\", \"memory\": 122880, \"ephemeral_storage\": 200}", "16384", "122880", 200},
		{"{\"cpu\": 512, \"memory\": 1024, \"ephemeralStorage\": {\"sizeInGiB\": 30}}", "512", "1024", 30},
		{"{\"vcpus\": 1, \"memory\": 512}", NULL, NULL, 0},
		{"{\"vcpus\": 8, \"memory\": 17408}", NULL, NULL, 0},
		{"{\"vcpus\": -1}", NULL, NULL, 0},
		{"{\"vcpus\": 1e300}", NULL, NULL, 0},
		{"{\"cpu\": []}", NULL, NULL, 0},
		{"{\"memory\": \"2048 pages\"}", NULL, NULL, 0},
		{"{\"ephemeral_storage\": 201}", NULL, NULL, 0},
		{"{\"taskRoleArn\": \"me\"}", NULL, NULL, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cleanup_error struct crex_error err = CREX_ERROR_INIT;
		struct fargate_settings s;
		int r = settings_of(rows[i].arguments, &s, &err);
		assert_int_equal(r, rows[i].cpu ? 0 : -1);
		if (r < 0) {
			assert_int_equal(err.code, CREX_E_CONFIG);
			continue;
		}
		assert_string_equal(s.cpu, rows[i].cpu);
		assert_string_equal(s.memory, rows[i].memory);
		assert_int_equal(s.storage, rows[i].storage);
		fargate_settings_deinit(&s);
	}
}

static void networks(void **state)
{
	(void)state;
	assert_true(fargate_cidr_is_sound("192.0.2.7/32"));
	assert_true(fargate_cidr_is_sound("0.0.0.0/0")); /* who writes it means it */
	assert_true(fargate_cidr_is_sound("2001:db8::/64"));
	static const char *const unsound[] = {"192.0.2.7",    "192.0.2.7/", "192.0.2.7/33",
					      "192.0.2/24",   "::/129",	    "192.0.2.7/ 8",
					      "192.0.2.7/+8", "",	    "/8"};
	for (size_t i = 0; i < sizeof unsound / sizeof *unsound; i++)
		assert_false(fargate_cidr_is_sound(unsound[i]));
}

static void names_tell_their_content(void **state)
{
	(void)state;
	char a[64], b[64];
	fargate_name(a, sizeof a, "p", "content");
	fargate_name(b, sizeof b, "p", "content.");
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 1 + 17);
	char owner[] = "host/boot/pid:[4026531836]/1/2";
	fargate_owner_to_tag(owner);
	assert_null(strpbrk(owner, "[]"));
	fargate_owner_from_tag(owner);
	assert_string_equal(owner, "host/boot/pid:[4026531836]/1/2");
}

/* ---- profiles ---- */

static void write_file(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static void expect(const char *profile, const char *key, const char *value)
{
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	cleanup_free char *found = NULL;
	assert_int_equal(profile_get(profile, key, &found, &err), 0);
	if (value)
		assert_string_equal(found, value);
	else
		assert_null(found);
}

static void profiles(void **state)
{
	(void)state;
	char folder[] = "/tmp/test-fargate-XXXXXX", credentials[64], config[64];
	assert_non_null(mkdtemp(folder));
	snprintf(credentials, sizeof credentials, "%s/credentials", folder);
	snprintf(config, sizeof config, "%s/config", folder);
	setenv("AWS_SHARED_CREDENTIALS_FILE", credentials, 1);
	setenv("AWS_CONFIG_FILE", config, 1);
	unsetenv("AWS_PROFILE");
	expect(NULL, "region", NULL);
	write_file(credentials, "[default]\nregion=a\n;region=b\n[ work ]\nREGION = b c \nempty =\n");
	write_file(config,
		   "[profile work]\nregion=d\nonly = e=f\ns3 =\n  only = nested\n[work]\nother=g\n[default]\nlast=h");
	expect(NULL, "region", "a");
	expect("work", "region", "b c");
	expect("work", "empty", "");
	expect("work", "only", "e=f");
	expect("work", "other", NULL);
	expect(NULL, "last", "h");
	setenv("AWS_PROFILE", "work", 1);
	expect(NULL, "region", "b c");
	unsetenv("AWS_PROFILE");
	assert_int_equal(profile_exists("work", NULL), 1);
	assert_int_equal(profile_exists("wor", NULL), 0);
	remove(credentials);
	remove(config);
	cleanup_error struct crex_error err = CREX_ERROR_INIT;
	char *none = NULL;
	setenv("AWS_CONFIG_FILE", folder, 1); /* can be opened, not read */
	assert_int_equal(profile_get(NULL, "region", &none, &err), -1);
	rmdir(folder);
}

static void expect_id(const char *profile, const char *id)
{
	struct credentials c;
	credentials_init(&c, profile);
	struct aws_key key = {0};
	const struct deadline forever = {.at = CREX_NO_TIMEOUT};
	assert_int_equal(credentials_get(&c, false, &forever, &key, NULL), 0);
	assert_string_equal(key.id, id);
	aws_key_deinit(&key);
	credentials_deinit(&c);
}

/* A config that names a profile means that account, whatever the environment has. */
static void a_named_profile_wins(void **state)
{
	(void)state;
	char path[] = "/tmp/test-fargate-XXXXXX";
	close(mkstemp(path));
	write_file(path, "[work]\naws_access_key_id = from-work\naws_secret_access_key = s\n");
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	setenv("AWS_ACCESS_KEY_ID", "from-environment", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "t", 1);
	expect_id(NULL, "from-environment");
	expect_id("work", "from-work");
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	remove(path);
}

/* ---- the script ---- */

static int run_script(const char *environment, const char *path)
{
	struct crex_fargate_config c = CREX_FARGATE_CONFIG_INIT;
	c.container_timeout = 2;
	cleanup_free char *script = fargate_command(&c);
	cleanup_free char *command = NULL;
	setenv("SCRIPT", script, 1);
	assert_true(asprintf(&command, "env -i %s PATH=%s /bin/sh -c \"$SCRIPT\" >/dev/null 2>&1", environment, path) >
		    0);
	return WEXITSTATUS(system(command));
}

static void the_script_says_what_it_lacks(void **state)
{
	(void)state;
	char folder[] = "/tmp/test-fargate-XXXXXX", path[64];
	assert_non_null(mkdtemp(folder));
	assert_non_null(strstr(fargate_command_failure(run_script("", folder)), "server_url is not set"));
	assert_non_null(
		strstr(fargate_command_failure(run_script("CREX_SERVER_URL=https://x", folder)), "neither curl"));
	snprintf(path, sizeof path, "%s/swerex-remote", folder);
	write_file(path,
		   "#!/bin/sh\n[ \"$1\" = --help ] && exit\n[ \"$*\" = '--port 8880 --auth-token t' ] && exit 7\n");
	char command[128];
	snprintf(command, sizeof command, "chmod 755 %s", path);
	assert_int_equal(system(command), 0);
	assert_int_equal(run_script("SWEREX_AUTH_TOKEN=t", folder), 7);
	write_file(path,
		   "#!/bin/sh\n[ \"$1\" = --help ] && echo --auth-token-file && exit\n[ \"$*\" = '--port 8880' ] && "
		   "exit 8\n");
	assert_int_equal(run_script("SWEREX_AUTH_TOKEN=t", folder), 8);
	assert_null(fargate_command_failure(0));
	remove(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(xml_is_looked_up_by_path),
		cmocka_unit_test(every_prefix_of_xml_is_refused),
		cmocka_unit_test(xml_that_aws_never_sends_is_refused),
		cmocka_unit_test(refusals_of_all_services),
		cmocka_unit_test(long_messages_are_cut_between_characters),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(sizes_that_are_sold),
		cmocka_unit_test(networks),
		cmocka_unit_test(names_tell_their_content),
		cmocka_unit_test(profiles),
		cmocka_unit_test(a_named_profile_wins),
		cmocka_unit_test(the_script_says_what_it_lacks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
