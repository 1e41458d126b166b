"""The headers under the compilers and languages of those who include them (script/test has C11 and C++17 of each)."""

import re

import pytest
from conftest import ROOT, run

HEADERS = sorted(path.name for path in (ROOT / "include/crex").glob("*.h"))
LANGUAGES = [("gcc", "c", "c11"), ("gcc", "c", "c2x"), ("clang", "c", "c11"), ("g++", "c++", "c++11"),
             ("g++", "c++", "c++20"), ("clang++", "c++", "c++17"), ("clang++", "c++", "c++20")]  # fmt: skip

# all that clang knows, except for taste (padding, C++98, what every C header does in C++)
CLANG = ["-Weverything"] + [f"-Wno-{name}" for name in (
    "padded", "c++98-compat", "c++98-compat-pedantic", "pre-c2x-compat", "unsafe-buffer-usage",
    "declaration-after-statement", "old-style-cast", "unused-macros", "switch-default",
    "unknown-warning-option", "poison-system-directories")]  # fmt: skip


def compile_text(installed, text, compiler, language, standard):
    flags = CLANG if compiler.startswith("clang") else ["-Wall", "-Wextra", "-Wconversion"]
    return run(compiler, "-x", language, f"-std={standard}", "-pedantic-errors", *flags, "-Werror", "-fsyntax-only",
               "-iquote", ".", f"-I{installed.prefix}/include", "-", input=text, stdin=None)  # fmt: skip


@pytest.mark.parametrize("compiler, language, standard", LANGUAGES, ids=[f"{way[0]}-{way[2]}" for way in LANGUAGES])
def test_headers_alone_and_twice(installed, compiler, language, standard):
    for header in HEADERS:
        text = f"#include <crex/{header}>\n#include <crex/{header}>\nint main(void) {{ return 0; }}\n"
        done = compile_text(installed, text, compiler, language, standard)
        assert done.returncode == 0, f"{header}: {done.said}"


def initialisers():
    """(macro, struct) of every CREX_*_INIT."""
    found = []
    for header in HEADERS:
        for macro in re.findall(r"#define (CREX_\w+_INIT)\b", (ROOT / "include/crex" / header).read_text()):
            found.append((macro, macro[: -len("_INIT")].lower()))
    assert len(found) > 10
    return found


@pytest.mark.parametrize("compiler, language, standard", LANGUAGES, ids=[f"{way[0]}-{way[2]}" for way in LANGUAGES])
def test_initialisers(installed, compiler, language, standard):
    lines = ["#include <crex/crex.h>", "#include <crex/interface.h>", "int main(void)", "{", "\tint n = 0;"]
    for i, (macro, struct) in enumerate(initialisers()):
        lines += [f"\tstruct {struct} v{i} = {macro};", f"\tn += sizeof v{i} > 0;"]
        if language == "c":
            lines += [f"\tv{i} = (struct {struct}){macro};", f"\tstatic const struct {struct} s{i} = {macro};",
                      f"\tn += sizeof s{i} > 0;"]  # fmt: skip
        else:
            lines += [f"\tv{i} = {struct} {macro};", f"\tstatic const {struct} s{i} {macro};", f"\tn += sizeof s{i} > 0;"]
    done = compile_text(installed, "\n".join([*lines, "\treturn n == 0;", "}", ""]), compiler, language, standard)
    assert done.returncode == 0, done.said


def test_designated_over_defaults(installed):
    """The habit of C99: the macro's fields, some of them replaced after it."""
    text = ("#include <crex/crex.h>\nint main(void)\n{\n\tconst struct crex_docker_config base = CREX_DOCKER_CONFIG_INIT;\n"
            "\tstruct crex_docker_config config = base;\n\tconfig.image = \"debian:12\";\n"
            "\tstruct crex_call call = {.timeout = 5};\n\treturn config.port || call.cancel != NULL;\n}\n")  # fmt: skip
    done = compile_text(installed, text, "gcc", "c", "c11")
    assert done.returncode == 0, done.said
