"""What `mailfilter check` tells of a policy: as data, which is what --json prints, and as lines of text.

Must not know: the command line, listeners, where anything is printed.
"""
from mailfilter import log as logs
from mailfilter.policy import inspection

__all__ = ["lines", "problem", "refused", "report"]


def problem(error):
    """A MailfilterError as a dict: message, file, line, column and source line, null where not known."""
    return {"message": error.message if hasattr(error, "message") else str(error), "file": getattr(error, "file", None),
            "line": getattr(error, "line", None), "column": getattr(error, "column", None),
            "source": getattr(error, "source_line", None)}


def refused(name, error):
    """The report of a policy that cannot be loaded."""
    return {"policy": name, "ok": False, "errors": [problem(error)], "warnings": []}


def report(policy, listens):
    """(the report as a dict of plain values, its errors, its warnings: both lists of PolicyErrors).

    listens: the addresses that the policy names, as texts.
    """
    types = inspection.type_errors(policy)
    warnings = inspection.warnings(policy)
    built, copied = inspection.measure(policy)
    image = policy.image
    told = {
        "policy": str(policy.path),
        "ok": not types,
        "version": policy.version,
        "listens": listens,
        "handlers": {"policy": [name for name, own in policy.handlers.items() if own],
                     "library": [name for name, own in policy.handlers.items() if not own]},
        "files": [{"name": name, "bytes": len(program.text.encode("utf-8", "surrogatepass")),
                   "compilers": list(program.compilers)} for name, program in policy.programs.items()],
        "operations": [operation.name for operation in inspection.operations_used(policy)],
        "image": None if image is None else {"bytes": image.image_bytes, "relocations": image.relocations,
                                             "copied_us": round(copied * 1e6, 1)},
        "no_image": policy.no_image,
        "built_ms": round(built * 1e3, 2),
        "not_installed": [{"name": name, "for": what} for name, what in inspection.missing_parts()],
        "types": "checked" if types is not None else
                 "not checked" if any(name.endswith(".ts") for name in policy.programs) else "none",
        "errors": [problem(error) for error in types or ()],
        "warnings": [problem(error) for error in warnings],
    }
    return told, types or [], warnings


def lines(told):
    """The report as lines of text, without its errors and warnings."""
    errors = len(told["errors"])
    yield f"{told['policy']}: " + (f"{errors} error{'s' * (errors > 1)} in types" if errors else "no error found")
    yield f"version: {told['version']}"
    yield "listens on: " + (", ".join(told["listens"]) or "nothing; give --listen")
    for title, key in (("handlers of the policy", "policy"), ("handlers left to the library", "library")):
        names = told["handlers"][key]
        yield f"{title}:" + ("" if names else " none")
        for name in names:
            yield f"  {name}"
    policy, *modules = told["files"]
    for title, files in (("compiled", [policy] if policy["compilers"] else []), ("modules", modules)):
        if files:
            yield f"{title}:"
            for file in files:
                by = f" (by {' and '.join(file['compilers'])})" if file["compilers"] else ""
                yield f"  {logs.escape(file['name'])}{by}"
    yield "operations: " + (", ".join(told["operations"]) or "none")
    image = told["image"]
    if image is None:
        yield f"image: none ({logs.escape(told['no_image'])}); every connection builds its heap in {told['built_ms']:.1f} ms"
    else:
        yield (f"image: {image['bytes']} bytes, {image['relocations']} relocations, built in {told['built_ms']:.1f} ms, "
               f"copied in {image['copied_us']:.0f} µs")
    for part in told["not_installed"]:
        yield f"not installed: {part['name']} ({part['for']})"
    if told["types"] == "not checked":
        yield "types: not checked; there is no tsc"
