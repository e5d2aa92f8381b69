"""Operations of Dnsbl: one question to several blocklists; what to ask them about.

Must not know: how a policy weighs the answer.
"""
from mailfilter import log as logs
from mailfilter.mail.links import hosts_in
from mailfilter.policy.operation import PENDING
from mailfilter.services.dns_name import NameRefused, ascii_name
from mailfilter.services.dnsbl import Check, Lists, Zone

__all__ = ["check", "hosts"]

ZONES_LIMIT = 100
SUBJECTS_LIMIT = 100
"""Lists, and addresses or domains, of one check."""


def _lists(context):
    resolver = context.resolver
    lists = getattr(resolver, "blocklists", None)
    if lists is None:
        log = context.log
        lists = resolver.blocklists = Lists(resolver, context.loop, lambda text: log.write(logs.WARNING, "-", text))
    return lists


def _zone(row):
    name, weight, allow, ranges, mask, domains = row
    try:
        name = ascii_name(name)
    except NameRefused as error:
        raise ValueError(f"{name!r} is no domain of a blocklist: {error}") from None
    return Zone(name, weight, allow, [(int(first), int(last)) for first, last in ranges], int(mask), domains)


def check(context, waiting, subjects, rows, threshold, seconds):
    """[score, allowed, [[subject, number of the zone, [code, …]], …], [[zone name, why it failed], …], [skipped, …]]."""
    if len(rows) > ZONES_LIMIT or len(subjects) > SUBJECTS_LIMIT:
        raise ValueError(f"at most {ZONES_LIMIT} blocklists and {SUBJECTS_LIMIT} addresses or domains in one check")
    zones = [_zone(row) for row in rows]
    numbers = {id(zone): number for number, zone in enumerate(zones)}

    def settled(done):
        waiting.done([done.score, done.allowed, [[hit.subject, numbers[id(hit.zone)], hit.codes] for hit in done.hits],
                      [[name, why] for name, why in done.failed.items()], done.skipped])

    under_way = Check(_lists(context), subjects, zones, threshold=threshold, seconds=seconds, settled=settled)
    waiting.on_cancel = under_way.cancel
    return PENDING


def hosts(context, text, limit):
    """The hosts of the links in a text, at most `limit`."""
    return hosts_in(text, max(int(limit), 0))
