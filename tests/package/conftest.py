"""The library as a stranger gets it: installed to a prefix of its own, found by pkg-config alone.

CREX_PREFIX names a prefix that is there already; else script/install makes one, from a build directory that is kept.
"""

import os
import pathlib
import shlex
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*command, timeout=60, **options):
    """A finished process, its output as text; what fails shows what was said."""
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **options}
    done = subprocess.run([str(part) for part in command], timeout=timeout, **options)
    done.said = f"{shlex.join(done.args)}\nstatus {done.returncode}\n{done.stdout}{done.stderr}"
    return done


class Installed:
    def __init__(self, prefix, scratch):
        self.prefix = prefix
        self.scratch = scratch
        self.env = {
            **os.environ,
            "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"),
            "HOME": str(scratch),  # sessions read no startup file of whoever runs the tests
        }
        for name in ("LD_LIBRARY_PATH", "CPATH", "LIBRARY_PATH"):
            self.env.pop(name, None)

    def config(self, *arguments):
        done = run("pkg-config", *arguments, "crex", env=self.env)
        assert done.returncode == 0, done.said
        return done.stdout.split()

    def build(self, source, *, compiler="gcc", flags=("-std=c11", "-D_POSIX_C_SOURCE=200809L"), static=False, name=None):
        """Compiles without a warning and links by what pkg-config says; the program's path."""
        program = self.scratch / (name or f"{pathlib.Path(source).stem}-{compiler}{'-static' if static else ''}")
        libs = self.config("--static", "--libs") if static else [*self.config("--libs"), f"-Wl,-rpath,{self.prefix}/lib"]
        if static:  # where both libraries are, the linker would take the shared one
            libs = ["-l:libcrex.a" if lib == "-lcrex" else lib for lib in libs]
        done = run(compiler, *flags, "-pedantic", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program,
                   *(["-x", "c++"] if compiler.endswith("++") else []), source, "-x", "none",
                   *self.config("--cflags"), *libs, env=self.env)  # fmt: skip
        assert done.returncode == 0, done.said
        return program

    def run(self, *command, **options):
        return run(*command, **{"env": self.env, **options})


def install(*arguments, build=None):
    env = {**os.environ, "CREX_INSTALL_BUILD": str(build or ROOT / "build/package")}
    done = run(ROOT / "script/install", *arguments, timeout=400, env=env)
    assert done.returncode == 0, done.said
    return done


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("package")
    given = os.environ.get("CREX_PREFIX")
    prefix = pathlib.Path(given) if given else scratch / "prefix"
    if not given:
        install("--prefix", prefix)
    return Installed(prefix, scratch)
