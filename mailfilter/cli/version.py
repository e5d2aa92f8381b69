"""The command `mailfilter version`: this program, and what it is linked with.

Must not fail where something is missing: that is what it is asked for.
"""
import platform

from mailfilter import __version__

__all__ = ["add"]


def add(commands):
    """Add the command to argparse's."""
    version = commands.add_parser("version", help="show this program's version and those of what it is linked with")
    version.set_defaults(run=_version)


def _version(options):
    for name, value in _versions():
        print(f"{name:<12}{value}")
    return 0


def _versions():
    """Pairs of name and version, of this program and of what it runs on."""
    import ssl
    from importlib.metadata import PackageNotFoundError, version

    def of(package):
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    yield "mailfilter", __version__
    yield "python", f"{platform.python_version()} ({platform.python_implementation()})"
    try:
        from mailfilter._core import _build
        yield "core", f"{_build.KIND} build, Cython {_build.CYTHON}"
    except ImportError as error:
        yield "core", f"cannot be used: {error}"
    yield "uvloop", of("uvloop")
    yield "dukpy", of("dukpy")
    yield "duktape", _duktape_version()
    yield "pycares", of("pycares")
    yield "c-ares", _cares_version()
    yield "pyspf", of("pyspf")
    yield "greenlet", of("greenlet")
    yield "openssl", ssl.OPENSSL_VERSION


def _duktape_version():
    try:
        import dukpy
        number = int(dukpy.evaljs("Duktape.version"))
        from mailfilter.policy import engine
        state = "" if engine.sound() else f"; {engine.UNSOUND}"
    except Exception as error:
        return f"cannot be used: {error}"
    major, minor, patch = number // 10000, number // 100 % 100, number % 100
    if (minor, patch) == (99, 99):
        # What Duktape calls itself between two major versions.
        return f"{major}.x, a development snapshot (bundled with dukpy, numbered {number}){state}"
    return f"{major}.{minor}.{patch}{state}"


def _cares_version():
    try:
        import pycares
        return pycares.ARES_VERSION
    except Exception as error:
        return f"cannot be used: {error}"
