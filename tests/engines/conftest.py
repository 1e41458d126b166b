import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from engines import docker, engine, engines, podman, registry  # noqa: E402, F401
