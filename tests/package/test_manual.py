"""docs/library.md: its programs run, its fragments compile, its tables are complete, the links of the new pages lead somewhere."""

import re

import pytest
from conftest import ROOT

MANUAL = (ROOT / "docs/library.md").read_text()
BLOCKS = re.findall(r"^```c\n(.*?)^```", MANUAL, flags=re.S | re.M)
PROGRAMS = [block for block in BLOCKS if "int main" in block]
FRAGMENTS = [block for block in BLOCKS if "int main" not in block]

# what a fragment takes for granted; those that declare a name themselves shadow it
PRELUDE = """#include <crex/crex.h>
#include <stdio.h>
#include <string.h>
static struct crex_bash_action action;
static struct crex_observation seen;
int fragment(struct crex_deployment *d, struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err);
int fragment(struct crex_deployment *d, struct crex_runtime *rt, const struct crex_call *call, struct crex_error *err)
{
\t(void)d, (void)rt, (void)call, (void)err, (void)action, (void)seen;
\t{
%s
\t}
\treturn 0;
}
int main(void) { return 0; }
"""


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs_of_the_manual(installed, number):
    source = installed.scratch / f"manual{number}.c"
    source.write_text(PROGRAMS[number])
    done = installed.run(installed.build(source))
    assert done.returncode == 0, done.said
    if number == 0:
        assert done.stdout == "hello\n/tmp\n"


@pytest.mark.parametrize("number", range(len(FRAGMENTS)))
def test_fragments_of_the_manual(installed, number):
    source = installed.scratch / f"fragment{number}.c"
    source.write_text(PRELUDE % FRAGMENTS[number])
    flags = ("-std=c11", "-Wno-unused-variable", "-Wno-unused-but-set-variable")
    installed.build(source, flags=flags)


def test_fragment_of_the_readme(installed):
    fragment = re.search(r"^```c\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.S | re.M)[1]
    source = installed.scratch / "readme.c"
    source.write_text(
        "#include <crex/crex.h>\n#include <stdio.h>\n#include <string.h>\nint main(void)\n{\n"
        "struct crex_error err = CREX_ERROR_INIT;\nstruct crex_call call = CREX_CALL_INIT;\nstruct crex_runtime *rt;\n"
        "struct crex_create_session_request session = CREX_CREATE_SESSION_REQUEST_INIT;\n"
        "struct crex_bash_action action = CREX_BASH_ACTION_INIT;\nstruct crex_observation seen = CREX_OBSERVATION_INIT;\n"
        + fragment.replace("docker", "local").replace(r', \"image\": \"debian:12\"', "")
        + "crex_observation_clear(&seen);\nreturn err.code != CREX_OK;\n}\n"
    )
    done = installed.run(installed.build(source))
    assert done.returncode == 0, done.said


def test_the_manual_has_programs_and_fragments():
    assert len(PROGRAMS) >= 2 and len(FRAGMENTS) >= 5


def test_every_error_is_explained():
    listed = re.findall(r"^CREX_ERROR\((\w+)", (ROOT / "include/crex/errors.def").read_text(), flags=re.M)
    table = MANUAL[MANUAL.index("| `CREX_E_` |") : MANUAL.index("## Tests without")]
    explained = set(re.findall(r"`([A-Z_]+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))))
    assert explained - {"CREX_E_"} == set(listed)


def test_names_of_the_manual_exist():
    headers = "".join(path.read_text() for path in (ROOT / "include/crex").iterdir())
    for name in set(re.findall(r"\b(?:crex|CREX)_\w+\b", MANUAL)) - {"CREX_E_", "CREX_VERSION_", "CREX_0"}:
        code = name.removeprefix("CREX_E_")
        assert re.search(rf"\b{name}\b", headers) or f"CREX_ERROR({code}," in headers, name


@pytest.mark.parametrize("page", ["README.md", "docs/library.md", "docs/python.md", "examples/README.md"])
def test_links_lead_somewhere(page):
    file = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text()):
        assert (file.parent / target).exists(), target
