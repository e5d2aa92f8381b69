"""The operation behind require(): asking for a module that is not there.

Must not know: files, how modules are found.
"""

__all__ = ["want"]


def want(context, folder, request):
    """What require() throws about a module that it does not know. While the policy is loaded it is noted."""
    modules = getattr(context, "modules", None)
    if modules is None:
        return (f"the module '{request}' was not loaded with the policy, and nothing is loaded later; require it by its "
                "literal name, or while the policy is loaded")
    return modules.want(folder, request)
