"""What an installation puts where, what pkg-config says about it, and that it can be taken away again."""

import os
import re

from conftest import ROOT, install, run


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def test_what_is_installed(installed):
    there = files_below(installed.prefix)
    headers = {f"include/crex/{path.name}" for path in (ROOT / "include/crex").iterdir()}
    assert {name for name in there if name.startswith("include/")} == headers
    for name in ("lib/libcrex.so", "lib/libcrex.so.0", "lib/libcrex.a", "lib/pkgconfig/crex.pc", "bin/swerex-remote",
                 "share/man/man1/swerex-remote.1"):  # fmt: skip
        assert name in there
    for source, target in {
        "man/crex.1": "share/man/man1/crex.1",
        "completions/crex.bash": "share/bash-completion/completions/crex",
        "completions/_crex": "share/zsh/site-functions/_crex",
        "completions/crex.fish": "share/fish/vendor_completions.d/crex.fish",
        "src/cli/meson.build": "bin/crex",
        "dist/swerex-remote": "libexec/crex/swerex-remote-x86_64",
        "dist/swerex-remote-aarch64": "libexec/crex/swerex-remote-aarch64",
    }.items():
        assert (target in there) == (ROOT / source).exists(), target
    for name in there:
        if name.startswith(("bin/", "libexec/")):
            assert os.access(installed.prefix / name, os.X_OK), name


def test_no_installed_file_knows_the_source_tree(installed):
    # the compiler's debug information is allowed to; what programs read is not
    for name in ("lib/pkgconfig/crex.pc", "lib/libcrex.so.0"):
        assert str(ROOT).encode() not in (installed.prefix / name).read_bytes(), name


def test_shared_needs_one_library_alone(installed):
    assert installed.config("--libs") == [f"-L{installed.prefix}/lib", "-lcrex"]
    assert installed.config("--cflags") == [f"-I{installed.prefix}/include"]


def test_one_version_everywhere(installed):
    version = installed.config("--modversion")[0]
    header = (ROOT / "include/crex/crex.h").read_text()
    parts = [re.search(rf"CREX_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH")]
    assert version == ".".join(parts)
    assert (installed.prefix / f"lib/libcrex.so.{version}").exists()
    source = installed.scratch / "version.c"
    source.write_text('#include <crex/crex.h>\n#include <stdio.h>\nint main(void) { return puts(crex_version()) < 0; }\n')
    assert installed.run(installed.build(source)).stdout == version + "\n"


def test_destdir_and_uninstall(tmp_path):
    # a build directory of its own would compile everything again: the one that made the prefix is there
    done = install("--prefix", "/opt/crex", "--destdir", tmp_path / "stage")
    assert "installed to" in done.stdout
    stage = tmp_path / "stage/opt/crex"
    assert "lib/libcrex.so.0" in files_below(stage)
    assert "prefix=/opt/crex" in (stage / "lib/pkgconfig/crex.pc").read_text()
    done = run("ninja", "-C", ROOT / "build/package", "uninstall")
    assert done.returncode == 0, done.said
    assert files_below(tmp_path) == []


def test_a_foreign_option_installs_nothing(tmp_path):
    done = run(ROOT / "script/install", "--prefx", tmp_path)
    assert done.returncode == 2 and "script/install [--prefix DIR]" in done.stderr
    assert files_below(tmp_path) == []
