"""Operations of Maps: files that a policy may read, and what is in them.

A policy reads files in its own folder or below, and in the folders of the setting `mapDirectory`; which, it says while it is
loaded, so that no name out of a mail ever leads anywhere.

Must not know: how maps are written.
"""
import os

from mailfilter._core.heap import HostError
from mailfilter.errors import MailfilterError, ServiceUnavailable
from mailfilter.mail.octets import octets
from mailfilter.policy.guarded import failed, outside
from mailfilter.policy.operation import PENDING
from mailfilter.policy.program_cache import default_directory
from mailfilter.services import maps
from mailfilter.services.map_files import keep, open_map

__all__ = ["KEY", "SETTING", "find", "load"]

SETTING = "mapDirectory"
"""The setting with the folders, besides the policy's own, whose maps a policy may read; several with `:` between them."""

KEY = 8192
"""Octets of what is looked up."""


def _directory(context):
    directory = context.settings.get("cacheDirectory")
    directory = default_directory() if directory is None else directory or None
    return None if directory is None else os.fspath(directory)


def load(context, name):
    """[path, kind] of a map; what is wrong with it is thrown."""
    modules = getattr(context, "modules", None)
    if modules is None:
        raise HostError("Maps.load is for the top level of a policy, not for handlers")
    folders = [modules.folder, *filter(None, context.settings.get(SETTING, "").split(":"))]
    path = os.path.realpath(os.path.join(modules.folder, name))
    if not any(path.startswith(os.path.join(os.path.realpath(folder), "")) for folder in folders):
        raise HostError(f"Maps.load: {name} is neither in the policy's folder nor in one of --set {SETTING}=FOLDER")
    kind = maps.kind_of(path)
    try:
        if kind == "regexp":
            maps.Patterns(path)
        else:
            keep(path, maps.compiled(path, _directory(context)))
    except OSError as error:
        raise MailfilterError(f"the map {name} cannot be read: {error.strerror}") from error
    return [path, kind]


def find(context, waiting, path, key, away):
    """The value of what is looked up, null when it is not in the map."""
    key = octets(key)
    if len(key) > KEY:
        return None
    file = open_map(outside(context), path, _directory(context))
    ready, value = file.find(key)
    if ready:
        return value

    async def later():
        try:
            await file.ready()
        except (MailfilterError, OSError) as error:
            failed(context, waiting, path, ServiceUnavailable(str(error)), away, None)
            return
        waiting.done(file.find(key)[1])

    task = context.loop.create_task(later())
    waiting.on_cancel = task.cancel
    return PENDING
