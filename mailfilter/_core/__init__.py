"""The compiled core: SMTP as tables and parsers, and the JavaScript engine. It computes and does no I/O.

Nothing is re-exported; import from the modules (`from mailfilter._core.session import Session`). Importing the
package checks that all modules come from one build, the last complete one: a module that was compiled against
an older .pxd calls the wrong methods of another module's classes, and nothing else would notice.

The core imports nothing else of mailfilter.
"""
from importlib import import_module

__all__ = []

_REMEDY = "run `make build` in the checkout, or install the package again"


def _check_build():
    try:
        build = import_module(f"{__name__}._build")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}._build":
            raise
        raise ImportError(f"the compiled core of mailfilter has not been built; {_REMEDY}", name=__name__) from None
    for name in build.MODULES:
        full_name = f"{__name__}.{name}"
        try:
            module = import_module(full_name)
        except ModuleNotFoundError as error:
            # It may be one that this module imports, of ours or of somebody else's.
            if not (error.name or "").startswith(f"{__name__}."):
                raise
            raise ImportError(f"the compiled module {error.name} is missing; {_REMEDY}", name=error.name) from None
        except (AttributeError, ValueError) as error:
            # Cython's own checks when a class changed its size or a function its signature.
            raise ImportError(f"the compiled module {full_name} is stale ({error}); {_REMEDY}",
                              name=full_name) from error
        if getattr(module, "_abi_stamp", None) != build.STAMP:
            raise ImportError(f"the compiled module {full_name} is stale: it is not from the last build; {_REMEDY}",
                              name=full_name)


_check_build()
