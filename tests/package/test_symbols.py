"""The library's binary interface: what the headers declare, and nothing else."""

import re

from conftest import ROOT, run


def declared():
    names = set()
    for header in (ROOT / "include/crex").glob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        names |= set(re.findall(r"CREX_API\b[^;(]*?\b(crex_\w+)\s*\(", text))
        # a function that the library has but does not promise would be missing from the library for those who link it
        for name in re.findall(r"^(?!static|CREX_API|\s|#|struct \w+ \{)[^;{}(]*?\b(crex_\w+)\s*\(", text, flags=re.M):
            assert name in names, f"{header.name}: {name} is without CREX_API"
    assert len(names) > 50
    return names


def nm(*arguments):
    done = run("nm", *arguments)
    assert done.returncode == 0, done.said
    return {line.split()[-1] for line in done.stdout.splitlines() if len(line.split()) == 3}


def test_shared_library_exports_what_the_headers_declare(installed):
    exported = nm("-D", "--defined-only", installed.prefix / "lib/libcrex.so.0") - {"CREX_0.1"}
    assert exported == {f"{name}@@CREX_0.1" for name in declared()}


def test_static_library_shows_the_same_names(installed):
    assert nm("-g", "--defined-only", installed.prefix / "lib/libcrex.a") == declared()


def test_soname_and_needs(installed):
    dynamic = run("readelf", "-dW", installed.prefix / "lib/libcrex.so").stdout
    assert re.search(r"SONAME.*\[libcrex\.so\.0\]", dynamic)
    assert "TEXTREL" not in dynamic and "RPATH" not in dynamic and "RUNPATH" not in dynamic
    needed = set(re.findall(r"NEEDED.*\[lib(\w+)\.so", dynamic))
    # each of these must be known to a static link too
    private = {name[2:] for name in installed.config("--static", "--libs") if name.startswith("-l")}
    assert needed - {"c"} <= private | {"pthread"}
    assert private - {"crex", "m"} <= needed


def test_a_program_may_use_the_names_inside(installed):
    """A static library has no version script: its inner names must be local all the same."""
    source = installed.scratch / "names.c"
    source.write_text(
        "#include <crex/crex.h>\n"
        "void buf_init(void);\nvoid spawn(void);\nint deadline_check(void);\n"
        "void buf_init(void) {}\nvoid spawn(void) {}\nint deadline_check(void) { return 0; }\n"
        "int main(void)\n{\n\tstruct crex_runtime *rt = crex_local_runtime_new(0, 0);\n"
        "\tbuf_init();\n\tspawn();\n\tcrex_runtime_free(rt);\n\treturn rt ? deadline_check() : 1;\n}\n"
    )
    for static in (False, True):
        assert installed.run(installed.build(source, static=static)).returncode == 0
