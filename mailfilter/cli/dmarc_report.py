"""The command `mailfilter dmarc-report`.

Must not know: how findings are recorded, what is in a report.
"""
import argparse
import contextlib
import os
import sys

from mailfilter import log as logs
from mailfilter.cli.arguments import UsageError, hostname_of
from mailfilter.errors import ConfigError, MailfilterError

__all__ = ["add", "run"]

_EXAMPLES = """\
examples:
  mailfilter dmarc-report /var/lib/mailfilter/dmarc.db --list
      of which domains something is known, how many messages, and where their owners want reports sent
  mailfilter dmarc-report /var/lib/mailfilter/dmarc.db --org-name Example --email dmarc@example.net --output reports --gzip
      yesterday's reports, a file for each domain and policy, to be mailed to those addresses
  mailfilter dmarc-report /var/lib/mailfilter/dmarc.db --domain example.org --begin 2026-11-21T12 --end 2026-11-22
      twelve hours of one domain, on standard output

Times are UTC, in whole hours. What a server records is said by its policy (setting dmarcDatabase). Nothing is sent by mail,
nothing is removed from the file; findings are forgotten after 60 days.

Exit status 0: done, also when there is nothing to report; 1: the file cannot be read, or a report not written; 2: the command
line is wrong.
"""


def add(commands):
    """Add the command to argparse's."""
    dmarc = commands.add_parser(
        "dmarc-report", help="write aggregate reports of DMARC", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write aggregate reports of DMARC (RFC 7489, XML) for the owners of domains, out of what a server has "
                    "recorded.",
        epilog=_EXAMPLES)
    dmarc.set_defaults(run=run)
    dmarc.add_argument("database", metavar="DATABASE", help="the file that the policy records in")
    dmarc.add_argument("--domain", metavar="D", action="append", default=[],
                       help="only about this domain, as its record is found; may be repeated (default: all)")
    dmarc.add_argument("--begin", metavar="TIME", help="from this hour, 2026-11-21 or 2026-11-21T12 (default: yesterday, 0 h)")
    dmarc.add_argument("--end", metavar="TIME", help="up to this hour, which is not included (default: a day after the begin)")
    dmarc.add_argument("--org-name", metavar="NAME", help="who reports (default: the machine's name)")
    dmarc.add_argument("--email", metavar="ADDR", help="whom to write to about the reports (default: postmaster at the machine)")
    dmarc.add_argument("--contact", metavar="TEXT", help="more about that: a page, a telephone number")
    dmarc.add_argument("--output", metavar="DIR",
                       help="write each report into a file there, named as RFC 7489 has it; the names are printed (default: one "
                            "report to standard output)")
    dmarc.add_argument("--gzip", action="store_true", help="compress them")
    dmarc.add_argument("--list", action="store_true", help="print what would be reported: domain, policy, messages, addresses")


def run(options):
    """Write or list them; the exit status."""
    import datetime

    from mailfilter.services import dmarc_report
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    begin = _hour(options.begin, "--begin") if options.begin else (now - day).replace(hour=0, minute=0, second=0, microsecond=0)
    end = _hour(options.end, "--end") if options.end else begin + day
    if end <= begin:
        raise UsageError(f"--end {end:%Y-%m-%dT%H} is not after --begin {begin:%Y-%m-%dT%H}")
    if options.gzip and not options.output and not options.list and sys.stdout.isatty():
        raise UsageError("--gzip: a terminal shows no compressed report; give --output DIR")
    machine = hostname_of(None).decode()
    email = options.email or f"postmaster@{machine}"
    if not email.rpartition("@")[0] or not email.isprintable():
        raise UsageError(f"--email {email}: not an address")
    reporter = dmarc_report.Reporter(options.org_name or machine, email, options.contact)
    found = dmarc_report.reports(options.database, int(begin.timestamp()), int(end.timestamp()),
                                 [name.lower().rstrip(".") for name in options.domain])
    if options.list:
        for report in found:
            told = (report.domain, f"p={report.published['p']}", report.messages, " ".join(report.published["rua"]) or "-")
            print("\t".join(logs.escape(piece) for piece in told))
        return 0
    if options.output:
        return _write_reports(found, reporter, options.output, options.gzip)
    found = list(found)
    if len(found) > 1:
        raise ConfigError(f"there are {len(found)} reports; give --output DIR, or --domain for one")
    for report in found:
        sys.stdout.flush()
        sys.stdout.buffer.write(report.octets(reporter, options.gzip))
    return 0


def _write_reports(found, reporter, folder, compressed):
    for report in found:
        path = os.path.join(folder, report.file_name(reporter, compressed))
        try:
            os.makedirs(folder, exist_ok=True)
            with open(path, "wb") as file:
                file.write(report.octets(reporter, compressed))
        except OSError as error:
            raise MailfilterError(f"cannot write {path}: {error.strerror}") from error
        print(path)
    return 0


def _hour(text, option):
    import datetime
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H:00"):
        with contextlib.suppress(ValueError):
            return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.UTC)
    raise UsageError(f"{option} {text}: expected a day, 2026-11-21, or an hour, 2026-11-21T12")
