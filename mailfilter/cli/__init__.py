"""The command line: `mailfilter serve`, `mailfilter reload`, `mailfilter check`, and the parser of all commands; those about
DMARC reports, the quarantine and versions are in files of their own beside this one.

Reads arguments, turns them into checked values, and calls one function. What is imported for a command is
imported in it, so that `--help` and `version` work where the rest is not built. Exit statuses: 0 all right, 1 it
failed, 2 the command line is wrong, 130 interrupted.
"""
import argparse
import contextlib
import os
import signal
import sys

from mailfilter import __version__, config
from mailfilter import log as logs
from mailfilter.cli import dmarc_report, quarantine, version
from mailfilter.cli.arguments import Parser, UsageError, complain, hostname_of
from mailfilter.errors import ConfigError, MailfilterError, PolicyError

__all__ = ["main"]

_DEFAULT_POLICY = "mx"
_MOST_WORKERS = 256
_STDERR = 2

_SERVE_EXAMPLES = """\
examples:
  mailfilter serve mx --listen 127.0.0.1:8025 --set domains=example.org --set maildir=/var/spool/mail-in
      accept mail for example.org and deliver it into a Maildir
  mailfilter serve proxy --listen '*:25' --user mailfilter --workers 4 --set nextHop=127.0.0.1:10025
      a proxy in front of a mail server, on all addresses, one process per core, root given up after binding
  mailfilter serve policy.js --limit message_bytes=20m --timeout command=60 --log-format json
      a policy of your own

limits and timeouts (--limit NAME=VALUE, --timeout NAME=SECONDS; NAME@LISTENER for one listener), with their defaults:
{defaults}

signals: SIGTERM or Ctrl-C stops listening, lets running transactions finish (at most the timeout `shutdown`)
and ends; a second one ends at once. SIGHUP lets new connections have the policy as its files are now, if it is good.
"""

_RELOAD_EXAMPLES = """\
example:
  mailfilter check policy.js && mailfilter reload --pid-file /run/mailfilter.pid

The server's log says `reloaded` with the version, or `reload failed` and where; then the old policy stays.
"""

_CHECK_EXAMPLES = """\
examples:
  mailfilter check policy.js
  mailfilter check proxy --set nextHop=127.0.0.1:10025
  mailfilter check policy.ts --json --strict > report.json     in a deployment: neither errors nor warnings pass

Exit status 0: no error; 1: the policy has one, or with --strict something that is probably a mistake; 2: the command line
is wrong. Errors and warnings go to standard error as FILE:LINE:COLUMN with the source line.
"""



def main(arguments=None):
    """Run the command that `arguments` (default: those of the process) name; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except PolicyError as error:
        complain(str(error))
        excerpt = error.excerpt()
        if excerpt:
            print(excerpt, file=sys.stderr)
        return 1
    except UsageError as error:
        complain(str(error))
        return 2
    except MailfilterError as error:
        complain(str(error))
        return 1
    except ImportError as error:
        # The compiled core says what to do.
        ours = not isinstance(error, ModuleNotFoundError) or (error.name or "").startswith("mailfilter")
        complain(str(error) if ours else f"{error}: a package that Mailfilter needs is not installed; run `make` in a checkout, "
                                          "or `pip install mailfilter`")
        return 1
    except BrokenPipeError:
        # Whoever read our output has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _parser():
    wide = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="mailfilter", formatter_class=wide,
        description="A programmable SMTP engine: the policy is JavaScript, decided during the conversation.",
        epilog="`mailfilter COMMAND --help` explains a command and shows examples.")
    parser.add_argument("--version", action="version", version=f"mailfilter {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = commands.add_parser(
        "serve", help="serve SMTP with a policy", formatter_class=wide,
        description="Serve SMTP with a policy, until stopped.", epilog=_SERVE_EXAMPLES.format(defaults=_defaults()))
    serve.set_defaults(run=_serve)
    _add_policy(serve)
    serve.add_argument("--listen", metavar="ADDR", action="append", default=[],
                       help="HOST:PORT, [IPv6]:PORT or unix:/path; may be repeated; takes the place of the policy's "
                            "listenAddress; localhost and * are understood, port 0 lets the system choose; tls: before it: "
                            "connections begin with TLS; proxy: before it: they begin with a PROXY header")
    serve.add_argument("--tls-certificate", metavar="FILE[,KEY]", action="append", default=[],
                       help="certificate chain and key in PEM; may be repeated: which one is shown depends on the name that a "
                            "client asks for, the first one where it asks for none of theirs; read again when the files change")
    serve.add_argument("--tls-minimum", choices=("1.2", "1.3"), help="the oldest TLS version (default: 1.2)")
    serve.add_argument("--tls-ciphers", metavar="LIST", help="ciphers for TLS 1.2, in OpenSSL's words (default: ECDHE with "
                                                             "AES-GCM or ChaCha20)")
    serve.add_argument("--tls-client-ca", metavar="FILE",
                       help="ask clients for a certificate, which must be signed by one of these; none is all right")
    serve.add_argument("--proxy-from", metavar="NET", action="append", default=[],
                       help="where PROXY headers may come from: 192.0.2.7, 2001:db8::/32; may be repeated (default: this "
                            "machine)")
    serve.add_argument("--workers", metavar="N", default="1",
                       help="processes that serve, or `auto`, one per core (default: 1)")
    serve.add_argument("--user", help="run as this user after binding")
    serve.add_argument("--group", help="and as this group (default: the user's primary group)")
    serve.add_argument("--timeout", metavar="NAME=S", action="append", default=[], help="how long to wait; see below")
    serve.add_argument("--limit", metavar="NAME=V", action="append", default=[], help="how much is allowed; see below")
    serve.add_argument("--exempt", metavar="NET", action="append", default=[],
                       help="no limits on connections for clients in this network (192.0.2.0/24, 2001:db8::1); may be "
                            "repeated; takes the place of the default, the machine itself (127.0.0.0/8, ::1)")
    serve.add_argument("--line-ends", choices=("reject", "normalise"), default="reject",
                       help="what to do with bare CR and bare LF from clients (default: reject)")
    serve.add_argument("--auth-without-tls", action="store_true",
                       help="let clients send passwords in clear text (default: AUTH needs TLS)")
    serve.add_argument("--trust", metavar="NET", action="append", default=[],
                       help="clients in this network may say by XCLIENT and XFORWARD for whom they speak; may be repeated "
                            "(default: nobody)")
    serve.add_argument("--early-data", choices=("refuse", "take"), default="refuse",
                       help="what to do with a message that is sent before 354 was said (default: refuse)")
    serve.add_argument("--log-format", choices=("text", "json"), default="text", help="lines on stderr (default: text)")
    serve.add_argument("--log-level", metavar="L", default="info",
                       help="the least important severity to log: emergency to debug, or 0 to 7 (default: info)")
    serve.add_argument("--metrics", metavar="ADDR",
                       help="serve /metrics (Prometheus), /healthz and /ready by HTTP on HOST:PORT, [IPv6]:PORT or unix:/path")
    serve.add_argument("--hostname", metavar="H",
                       help="our name in the greeting and in Received (default: the machine's)")
    serve.add_argument("--spool-directory", metavar="D",
                       help="where bodies go that outgrow memory (default: the system's temporary folder)")

    serve.add_argument("--dns-server", metavar="ADDR", action="append", default=[],
                       help="address of a DNS server, ADDR or ADDR:PORT; may be repeated (default: the system's)")
    serve.add_argument("--pid-file", metavar="F",
                       help="write the process id there, and hold the file; for `mailfilter reload`")

    reload = commands.add_parser(
        "reload", help="let a running server take the policy as it is now", formatter_class=wide,
        description="Let a running server read its policy again. It compiles and checks it beside the one that serves; only "
                    "when it is good do new connections get it. Running sessions keep theirs. The same as SIGHUP.",
        epilog=_RELOAD_EXAMPLES)
    reload.set_defaults(run=_reload)
    reload.add_argument("--pid-file", metavar="F", required=True, help="what the server was given as --pid-file")

    check = commands.add_parser(
        "check", help="load a policy and tell what is in it", formatter_class=wide,
        description="Load a policy as `serve` would; tell its handlers, modules, operations and cost, and what looks "
                    "like a mistake.", epilog=_CHECK_EXAMPLES)
    check.set_defaults(run=_check)
    _add_policy(check)
    check.add_argument("--json", action="store_true", help="print the report as one JSON object")
    check.add_argument("--strict", action="store_true", help="exit with 1 for warnings, too")

    dmarc_report.add(commands)
    quarantine.add(commands)
    version.add(commands)
    return parser


def _add_policy(parser):
    parser.add_argument("policy", metavar="POLICY", nargs="?", default=_DEFAULT_POLICY,
                        help="a JavaScript file, or the name of a policy that comes with mailfilter: mx, proxy, mark, "
                             "filter, database, submission (default: mx)")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], dest="settings",
                        help="a setting for the policy; may be repeated; the environment's MAILFILTER_NAME is used "
                             "where there is none")
    parser.add_argument("--set-file", metavar="NAME=FILE", action="append", default=[], dest="setting_files",
                        help="a setting whose value is what a file holds, read again when the policy is; may be repeated")


def _defaults():
    lines = []
    for title, numbers in (("limit", config.Limits()), ("timeout", config.Timeouts())):
        for name, value in vars(numbers).items():
            lines.append(f"  {title:8} {name}={value:g}" if isinstance(value, float) else f"  {title:8} {name}={value}")
    return "\n".join(lines)


def _settings(options):
    return config.Settings(config.assignments(options.settings, "--set"),
                           files=config.assignments(options.setting_files, "--set-file"))


def _serve(options):
    from mailfilter.net import listeners, networks, privileges
    from mailfilter.net.entrance import trusted_networks
    # Until somebody listens for it: a reload that is asked for while we start is no reason to end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _hold_standard_descriptors()
    try:
        log = _log(options)
        workers = _workers(options.workers)
        settings = _settings(options)
        hostname = hostname_of(options.hostname)
        spool_directory = _spool_directory(options.spool_directory)
        limits = config.Given(config.Limits(), config.assignments(options.limit, "--limit"), "--limit")
        timeouts = config.Given(config.Timeouts(), config.assignments(options.timeout, "--timeout"), "--timeout")
        trusted = networks.Networks(options.trust, "--trust")
        exempt = networks.Networks(options.exempt or networks.LOOPBACK, "--exempt")
        addresses = listeners.parse_all(options.listen) if options.listen else None
        page = _page(options.metrics)
        dns_servers = [config.parse_dns_server(text) for text in options.dns_server] or None
        identity = privileges.resolve(options.user, options.group)
        trusted_proxies = trusted_networks(options.proxy_from)
    except ConfigError as error:
        raise UsageError(str(error)) from None

    from mailfilter import policy as policies
    from mailfilter.net.counting import SharedMemory
    from mailfilter.net.deployment import Deployment
    from mailfilter.net.inbound import Inbound
    from mailfilter.net.supervisor import serve
    from mailfilter.net.terms import Terms
    from mailfilter.net.worker import Worker
    from mailfilter.services.dns import Resolver

    def load():
        """The policy as its files are now, and what it and the command line say, the latter over the former."""
        settings.read()
        policy = policies.load(options.policy, settings, hostname=hostname.decode(), log=log,
                               user=identity.name if identity is not None else None, heap_bytes=limits.given("heap_bytes"))
        said = [given.over(config.Given(defaults, of_policy, source)) for given, defaults, of_policy, source in (
            (limits, config.Limits(), policy.limits, "SmtpServer.limits"),
            (timeouts, config.Timeouts(), policy.timeouts, "SmtpServer.timeouts"))]
        return Terms(policy, *said)

    deployment = Deployment(load, settings, log, fixed_addresses=addresses is not None)
    # Nothing here holds what is current now: it is forgotten when a newer one has come and its last session is over.
    if addresses is None:
        addresses = listeners.parse_all(deployment.current.policy.listen_addresses)
    tls = _tls(options, addresses, log)

    def make_resolver():
        terms = deployment.current
        return Resolver(servers=dns_servers, deadline_s=terms.timeouts.dns, cache_entries=terms.limits.dns_cache_entries,
                        in_flight=terms.limits.dns_in_flight)

    counts = SharedMemory(workers)

    def make_worker():
        # As the user that it has become by now.
        if spool_directory is not None and not os.access(spool_directory, os.W_OK | os.X_OK):
            log.write(logs.WARNING, "-", "this user may not write into the spool directory: large messages are refused with 452",
                      directory=spool_directory)
        return Worker(deployment.current, log=log, protocol=Inbound, hostname=hostname, settings=settings,
                      line_ends=options.line_ends, early_data=options.early_data,
                      auth_without_tls=options.auth_without_tls, trusted=trusted, spool_directory=spool_directory,
                      make_resolver=make_resolver, exempt=exempt, counts=counts, tls=tls, trusted_proxies=trusted_proxies)

    log.write(logs.NOTICE, "-", "mailfilter starts", version=__version__, policy=deployment.current.policy.path,
              policy_version=deployment.current.policy.version)
    if ("smtpAuth" in deployment.current.policy.handlers and tls is None and not options.auth_without_tls
            and not any(address.proxy for address in addresses)):
        log.write(logs.WARNING, "-", "no client can log in: AUTH is offered under TLS only; give --tls-certificate FILE[,KEY]")
    if settings.given:
        from mailfilter.policy.inspection import unread_settings
        for problem in unread_settings(deployment.current.policy):
            log.write(logs.WARNING, "-", problem)
    return serve(make_worker, addresses, workers=workers, identity=identity, log=log,
                 grace_s=deployment.current.timeouts.shutdown, page=page, deployment=deployment, pid_file=options.pid_file)


def _reload(options):
    from mailfilter.net import pidfile
    number = pidfile.running(options.pid_file)
    try:
        os.kill(number, signal.SIGHUP)
    except OSError as error:
        raise ConfigError(f"cannot signal the server with the process id {number}: {error.strerror}") from error
    print(f"asked the server with the process id {number} to reload its policy; its log tells how that ended")
    return 0


def _tls(options, addresses, log):
    """The certificates for clients, or None. Loaded as whoever started us, and before anything is bound."""
    from mailfilter.net.tls import CIPHERS, ServerTls
    if not options.tls_certificate:
        for address in addresses:
            if address.tls:
                raise ConfigError(f"cannot listen with TLS on {address}: give --tls-certificate FILE[,KEY]")
        # Who gives these believes that there is TLS.
        for name in ("--tls-client-ca", "--tls-ciphers", "--tls-minimum"):
            if getattr(options, name[2:].replace("-", "_")) is not None:
                raise ConfigError(f"{name} without a certificate does nothing: give --tls-certificate FILE[,KEY]")
        return None
    pairs = []
    for text in options.tls_certificate:
        file, comma, key = text.partition(",")
        pairs.append((file, key if comma else file))
    return ServerTls(pairs, client_ca=options.tls_client_ca, ciphers=options.tls_ciphers or CIPHERS,
                     minimum=options.tls_minimum or "1.2", log=log.write)


def _page(address):
    """(addresses, protocol) for --metrics, or None."""
    if address is None:
        return None
    from mailfilter.net import listeners
    try:
        from mailfilter.net.metrics_page import Page
    except ImportError as error:
        raise ConfigError(f"--metrics needs the package prometheus_client: pip install 'mailfilter[metrics]' ({error})") from None
    return listeners.parse_all([address]), Page


def _hold_standard_descriptors():
    # Started with one of them closed, the next socket would get its number, and a client our log.
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _log(options):
    level = logs.severity_named(options.log_level)
    if level is None:
        raise ConfigError(f"--log-level {options.log_level}: expected emergency, alert, critical, error, warning, "
                          "notice, info or debug")
    sink = logs.JsonSink if options.log_format == "json" else logs.TextSink
    return logs.Log(sink(_STDERR), level)


def _workers(text):
    if text == "auto":
        return max(1, len(os.sched_getaffinity(0)))
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_WORKERS:
        raise ConfigError(f"--workers {text}: expected a number from 1 to {_MOST_WORKERS}, or auto")
    return int(text)


def _spool_directory(path):
    if path is not None and not os.path.isdir(path):
        raise ConfigError(f"--spool-directory {path}: there is no such folder")
    return path


def _check(options):
    try:
        settings = _settings(options)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    import json

    from mailfilter import policy as policies
    from mailfilter.net import listeners
    from mailfilter.policy import report

    with _stdout_kept(options.json):
        try:
            policy = policies.load(options.policy, settings, log=logs.Log(logs.TextSink(_STDERR)))
            addresses = listeners.parse_all(policy.listen_addresses) if policy.listen_addresses else []
            told, errors, warnings = report.report(policy, [":".join([*address.kinds, str(address)]) for address in addresses])
        except MailfilterError as error:
            told, fault = report.refused(options.policy, error), error
        else:
            fault = None
    if fault is not None:
        if options.json:
            print(json.dumps(told, indent=2), flush=True)
        raise fault
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        for line in report.lines(told):
            print(line)
    for kind, found in (("warning: ", warnings), ("", errors)):
        for problem in found:
            place = f"{problem.place}: " if problem.place else ""
            complain(f"{place}{kind}{problem.message}")
            if problem.excerpt():
                print(problem.excerpt(), file=sys.stderr)
    return 1 if errors or options.strict and warnings else 0


@contextlib.contextmanager
def _stdout_kept(kept):
    """What a policy prints while it is loaded goes to standard error: standard output is for the report alone."""
    if not kept:
        yield
        return
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(_STDERR, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)
