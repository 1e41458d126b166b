"""What is written about the server is what the server does: OpenAPI file, manual page, help."""

import json
import pathlib
import re
import subprocess

from rawhttp import request
from server import BINARY

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def output_of(option):
    return subprocess.run([BINARY, option], capture_output=True, text=True, check=True).stdout


def documented_routes():
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def test_openapi_lists_the_servers_routes():
    assert documented_routes() == set(output_of("--print-routes").splitlines())


def test_documented_routes_exist_and_no_other_method_does(wire):
    routes = documented_routes()
    for path in {route.split()[1] for route in routes}:
        for method in ("GET", "POST"):
            status = wire().send(request(method, path, headers=["Content-Length: 0"])).reply().status
            assert (status not in (404, 405)) == (f"{method} {path}" in routes), (method, path, status)


def test_openapi_schemas_name_every_field_that_the_clients_send():
    text = (ROOT / "docs" / "openapi.json").read_text()
    for field in ("session_type", "startup_source", "startup_timeout", "is_interactive_command", "is_interactive_quit", "check",
                  "error_msg", "expect", "expect_string", "n_retry", "action_type", "merge_output_streams", "encoding", "errors",
                  "target_path", "unzip", "swerexception", "class_path", "extra_info", "failure_reason", "truncated"):
        assert f'"{field}"' in text, field


def test_manual_page_describes_every_option():
    manual = (ROOT / "man" / "swerex-remote.1").read_text().replace("\\-", "-")
    for option in re.findall(r"^\s+(--[a-z-]+)", output_of("--help"), re.M):
        assert option in manual, option


def test_readme_names_only_options_that_exist():
    known = set(re.findall(r"--[a-z][a-z-]+", output_of("--help")))
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("## Options"):]
    table = table[:table.index("\n## ", 1)]
    named = set(re.findall(r"`(--[a-z-]+)", table))
    assert named and named <= known
