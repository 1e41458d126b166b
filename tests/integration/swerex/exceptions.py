"""The exception classes that a SWE-ReX 1.4.0 client can import, and no others.

A class path outside of this list (and outside of builtins) makes `client.rebuild_exception` fail the test.
"""


class SwerexException(Exception):
    extra_info: dict = {}


class SessionNotInitializedError(SwerexException, RuntimeError):
    pass


class NonZeroExitCodeError(SwerexException, RuntimeError):
    pass


class BashIncorrectSyntaxError(SwerexException, RuntimeError):
    pass


class CommandTimeoutError(SwerexException, RuntimeError):
    pass


class NoExitCodeError(SwerexException, RuntimeError):
    pass


class SessionExistsError(SwerexException, ValueError):
    pass


class SessionDoesNotExistError(SwerexException, ValueError):
    pass


class DeploymentNotStartedError(SwerexException, RuntimeError):
    pass


class DeploymentStartupError(SwerexException, RuntimeError):
    pass


class DockerPullError(DeploymentStartupError):
    pass


class DummyOutputsExhaustedError(SwerexException, RuntimeError):
    pass
