"""Finds the JavaScript that comes with Mailfilter: the library that every policy sees, and ready policies.

In a wheel it lies in mailfilter/js, in a checkout (editable install) in js/ beside the package.

Must not know what the files contain.
"""
from functools import lru_cache
from pathlib import Path

from mailfilter.errors import PolicyError

__all__ = ["PREFIX", "directory", "every_source", "shipped_policies", "shipped_policy", "sources"]

# Order matters: prelude first, engine last; it takes `host` away.
FILES = ("prelude.js", "polyfill.js", "collections.js", "generators.js", "path.js", "header.js", "response.js",
         "body.js", "parts.js", "sys.js", "inspect.js", "together.js", "client.js", "client_extensions.js", "client_steps.js",
         "routes.js", "maildir.js", "quarantine.js", "dns.js", "dnsbl.js", "spf.js", "dkim.js", "arc.js", "authresults.js",
         "dmarc.js", "outside.js", "sql.js", "jdbc.js", "clamav.js", "spamassassin.js", "rspamd.js", "milter.js",
         "store.js", "greylist.js", "http.js", "maps.js", "server.js", "received.js", "auth.js", "modules.js", "engine.js")

# These are loaded only when the policy or one of its modules has one of the names: every connection copies what is loaded.
ON_DEMAND = {
    "polyfill.js": frozenset(
        "at entries fill find findIndex findLast findLastIndex flat flatMap from fromEntries hasOwn includes iterator keys "
        "matchAll of padEnd padStart raw replaceAll trimEnd trimStart values Map Set WeakMap WeakSet regeneratorRuntime".split()),
    "collections.js": frozenset(("Map", "Set", "WeakMap", "WeakSet")),
    "generators.js": frozenset(("regeneratorRuntime",)),
    "modules.js": frozenset(("require",)),
    "parts.js": frozenset("text lines parts attachments links search edited decoded".split()),
    "inspect.js": frozenset(("inspect", "dump")),
    "received.js": frozenset(("receivedHeader", "Quarantine")),
    "together.js": frozenset(("all",)),
    "auth.js": frozenset(("smtpAuth",)),
    "client.js": frozenset(("SmtpClient", "SmtpRoutes")),
    "maildir.js": frozenset(("Maildir",)),
    "quarantine.js": frozenset(("Quarantine",)),
    "dns.js": frozenset(("Dns",)),
    "dnsbl.js": frozenset(("Dnsbl",)),
    "dkim.js": frozenset(("Dkim",)),
    "clamav.js": frozenset(("ClamAV",)),
    "spamassassin.js": frozenset(("SpamAssassin",)),
    "rspamd.js": frozenset(("Rspamd",)),
    "http.js": frozenset(("Http",)),
    "maps.js": frozenset(("Maps",)),
    "milter.js": frozenset(("Milter",)),
    "jdbc.js": frozenset(("DriverManager", "Statement", "PreparedStatement", "ResultSet")),
    "arc.js": frozenset(("Arc",)),
    "authresults.js": frozenset(("AuthResults",)),
    "dmarc.js": frozenset(("Dmarc",)),
    "spf.js": frozenset(("Spf", "SpfServer", "SpfResponse")),
}

ON_DEMAND["sql.js"] = ON_DEMAND["jdbc.js"] | frozenset(("Sql",))
ON_DEMAND["greylist.js"] = frozenset(("Greylist", "RateLimit"))
ON_DEMAND["store.js"] = ON_DEMAND["greylist.js"] | frozenset(("Store",))
ON_DEMAND["outside.js"] = frozenset().union(*(ON_DEMAND[name] for name in (
    "sql.js", "store.js", "http.js", "maps.js", "clamav.js", "spamassassin.js", "rspamd.js", "milter.js")))
ON_DEMAND["routes.js"] = frozenset(("SmtpRoutes",))
ON_DEMAND["client_steps.js"] = ON_DEMAND["routes.js"] | frozenset(
    "open hello mail rcpt transfer prefersChunks quit release".split())
ON_DEMAND["client_extensions.js"] = ON_DEMAND["client_steps.js"] | frozenset(
    "about ehlo offers startTls auth relayAuth relayAuthLine xclient xforward sendChunks readMessageResponse "
    "exchangeMessage".split())

# Files that add to another one, and are there only with it.
ADDS_TO = {"client_extensions.js": "client.js", "client_steps.js": "client.js"}

# What lies beside the ready policies to be required by others.
MODULES = frozenset(("authenticate", "clients", "content", "headers", "junk", "onward", "score", "settings"))

# What tracebacks call a file of the library: this and its name.
PREFIX = "mailfilter/"


@lru_cache(maxsize=1)
def directory():
    """The folder that holds the library; PolicyError when the installation is incomplete."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "js", package.parent / "js"):
        if (candidate / FILES[0]).is_file():
            return candidate
    raise PolicyError(f"the JavaScript library is missing: neither {package / 'js'} nor {package.parent / 'js'} "
                      "has it; install the package again")


@lru_cache(maxsize=64)
def _source(name):
    return PREFIX + name, (directory() / name).read_bytes()


def sources(names=frozenset(), modules=()):
    """The library as a list of (name in tracebacks, source bytes), in the order of loading.

    names: the names that occur in the policy, for the files that are there only on demand.
    modules: such pairs of the policy's own, which come before the last file.
    """
    asked = [name for name in FILES if name not in ON_DEMAND or not ON_DEMAND[name].isdisjoint(names)]
    files = [name for name in asked if ADDS_TO.get(name, name) in asked]
    return [*map(_source, files[:-1]), *modules, _source(files[-1])]


def every_source():
    """All files of the library, those on demand too, as sources() gives them."""
    return [_source(name) for name in FILES]


def shipped_policies():
    """Names of the ready policies, sorted: "mx", "proxy", …"""
    return sorted(path.stem for path in (directory() / "policies").glob("*.js") if path.stem not in MODULES)


def shipped_policy(name):
    """The path of a ready policy by its name, with or without ".js"; None when there is none of that name."""
    stem = name.removesuffix(".js")
    if stem in shipped_policies():
        return directory() / "policies" / f"{stem}.js"
    return None
