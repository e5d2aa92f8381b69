"""Giving up root for good, after the sockets are bound and before the first byte of a client is read.

`resolve` turns --user and --group into an `Identity`, early, so that mistakes show before anything is bound.
`drop` changes to it and then proves that there is no way back. Nothing here knows why root was needed.
"""
import grp
import os
import pwd
from dataclasses import dataclass

from mailfilter.errors import ConfigError

__all__ = ["Identity", "drop", "resolve"]


@dataclass(frozen=True)
class Identity:
    """Who to run as: a user's `name` and `uid`, and the `gid` of the group."""

    name: str
    uid: int
    gid: int


def resolve(user, group):
    """The identity that `--user` and `--group` ask for.

    `--user` alone takes that user's primary group. Both may be numbers, of users and groups that exist.

    Returns:
        An `Identity`, or None when there is nothing to change.

    Raises:
        ConfigError: unknown, or root, or a group without a user, or we are not root and would have to be.
    """
    if user is None:
        if group is None:
            return None
        raise ConfigError("--group without --user would keep the user as it is; give --user as well")
    account = _account(user)
    gid = account.pw_gid if group is None else _group(group)
    if account.pw_uid == 0:
        raise ConfigError(f"--user {user}: refusing to run as root (uid 0)")
    if gid == 0:
        where = f"--group {group}" if group is not None else f"--user {user}, whose primary group is root"
        raise ConfigError(f"{where}: refusing to run with gid 0; choose another group with --group")
    identity = Identity(account.pw_name, account.pw_uid, gid)
    if os.geteuid() == 0:
        if 0 in os.getgrouplist(identity.name, identity.gid):
            raise ConfigError(f"--user {user}: is a member of the group root (gid 0), which would be kept")
        return identity
    if os.getresuid() == (identity.uid,) * 3 and os.getresgid() == (identity.gid,) * 3:
        return None
    raise ConfigError("--user and --group need root to start from")


def _account(user):
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise ConfigError(f"--user {user}: there is no such user") from None


def _group(group):
    try:
        return (grp.getgrgid(int(group)) if group.isdecimal() else grp.getgrnam(group)).gr_gid
    except (KeyError, OverflowError):
        raise ConfigError(f"--group {group}: there is no such group") from None


def drop(identity):
    """Become `identity` for good; with None change nothing.

    Raises:
        ConfigError: the system refused, or something of root is left. The caller must not go on.
    """
    if identity is None:
        return
    try:
        # The order matters: after setuid the groups could not be changed any more.
        os.initgroups(identity.name, identity.gid)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        raise ConfigError(f"cannot become user {identity.name}: {error.strerror}") from error
    left = _what_is_left(identity)
    if left:
        raise ConfigError(f"privileges are not gone after becoming user {identity.name}: {left}")


def _what_is_left(identity):
    if os.getresuid() != (identity.uid,) * 3:
        return f"user ids are {os.getresuid()}"
    if os.getresgid() != (identity.gid,) * 3:
        return f"group ids are {os.getresgid()}"
    if 0 in os.getgroups():
        return "still in group 0"
    for regain in (os.setuid, os.seteuid, os.setgid, os.setegid):
        try:
            regain(0)
        except PermissionError:
            continue
        return f"{regain.__name__}(0) is allowed"
    return ""
