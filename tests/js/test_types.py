"""js/mailfilter.d.ts against the TypeScript compiler: the policies that come with the program, and small good and bad ones.

And against the running library: what is declared exists there, and the other way round.
"""
import json
import re
import shutil
import subprocess
import textwrap
from functools import lru_cache

import pytest
from heaps import TestHeap

from mailfilter import log as logs
from mailfilter import policy as policies
from mailfilter.config import Limits, Timeouts
from mailfilter.policy import library

PROJECT = library.directory().parent
DECLARATIONS = library.directory() / "mailfilter.d.ts"
COMPILER = PROJECT / "build/interop/node_modules/typescript/bin/tsc"

needs_compiler = pytest.mark.skipif(
    not (COMPILER.is_file() and shutil.which("node")),
    reason="typescript is not installed in build/interop (make test installs it where there is npm)")


def problems(folder, *files, strict=False):
    """What the compiler says against the files, one line each."""
    configuration = {"compilerOptions": {
        "noEmit": True, "allowJs": True, "checkJs": True, "target": "es2015", "lib": ["es2019"], "types": [],
        "module": "commonjs", "moduleDetection": "legacy", "strict": strict}, "files": [str(DECLARATIONS), *map(str, files)]}
    (folder / "tsconfig.json").write_text(json.dumps(configuration))
    done = subprocess.run(["node", COMPILER, "-p", folder, "--pretty", "false"], capture_output=True, text=True, timeout=120)
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


@needs_compiler
@pytest.mark.parametrize("name", [*library.shipped_policies(), *sorted(library.MODULES)])
def test_the_shipped_policies_have_the_right_types(name, tmp_path):
    assert problems(tmp_path, library.directory() / "policies" / f"{name}.js") == []


GOOD = """
    interface SmtpServer { smtpClient?: SmtpClient }
    const domains: string[] = Sys.setting('domains', 'example.org').split(',');
    const most: number = Sys.setting('most', 5), loud: boolean = Sys.setting('loud', false);
    SmtpServer.listenAddress = [['127.0.0.1', 8025], ['::1', '8025'], 'unix:/run/mailfilter'];
    SmtpServer.limits = {recipients: 100, message_bytes: '20m'};
    SmtpServer.timeouts = {command: 60};
    SmtpServer.debugProtocol = true;
    SmtpServer.prototype.hostname = 'mx.example.org';

    SmtpServer.prototype.smtpInit = function () {
        return new SmtpResponse(220, [this.hostname, 'ready'], false);
    };
    SmtpServer.prototype.smtpRcpt = function (path) {
        const domain = path.mailbox.domain;
        if (this.recipients.length >= most) {
            return {code: 452, message: '4.5.3 Enough'};
        }
        return domain !== null && domains.indexOf(domain.toLowerCase()) >= 0
            ? new SmtpResponse(250, '2.1.5 ' + path) : new SmtpResponse(550, '5.7.1 No', true);
    };
    SmtpServer.prototype.smtpPreData = function () {
        return null;
    };
    SmtpServer.prototype.smtpNoop = function (text) {
        Sys.log(Sys.LOG_INFO, text);
    };
    SmtpServer.prototype.smtpData = function (headers, body) {
        if (headers === null || body === null) {
            return null;
        }
        headers = headers.filter(header => header.name.toLowerCase() !== 'x-secret');
        headers.unshift(this.receivedHeader(undefined, this.recipients[0]), new SmtpHeader('X-Size', String(body.length)));
        headers[0].refold(72);
        if (body.read(0, 100).indexOf('GTUBE') >= 0) {
            return new SmtpResponse(550, '5.7.1 Spam');
        }
        const client = this.smtpClient = new SmtpClient('127.0.0.1', 25);
        client.connect();
        client.sendCommand('MAIL', 'FROM:' + this.sender + (this.sender ? this.sender.parameters(['SIZE']) : ''));
        const both: SmtpReply[] = Sys.all([() => client.readResponse(), () => client.readResponse()]);
        const perhaps = Sys.all([() => both.length], {errors: 'return'})[0];
        if (perhaps instanceof Error) {
            throw perhaps;
        }
        client.sendMessage(headers, body);
        const file: string = new Maildir('/tmp/m').deliver(headers.concat(), body, 'Junk');
        Sys.println(file, Sys.inspect(headers), Sys.user);
        return client.readResponse();
    };
"""


@needs_compiler
def test_a_typescript_policy(tmp_path):
    path = tmp_path / "policy.ts"
    path.write_text(textwrap.dedent(GOOD))
    assert problems(tmp_path, path, strict=True) == []


def test_the_program_loads_that_policy(tmp_path):
    path = tmp_path / "policy.ts"
    path.write_text(textwrap.dedent(GOOD))
    policy = policies.load(str(path), {"cacheDirectory": ""})
    assert policy.handlers["smtpNoop"] and policy.limits == {"recipients": 100, "message_bytes": "20m"}


CLASS = """
    class Server extends SmtpServer {
        smtpRcpt(path) {
            return path.mailbox.domain === 'example.org' ? super.smtpRcpt(path) : new SmtpResponse(550, `No ${path}`);
        }
    }
    SmtpServer = Server;
"""


@needs_compiler
@pytest.mark.parametrize("ending", ["js", "ts"])
def test_a_class_as_server(ending, tmp_path):
    path = tmp_path / f"policy.{ending}"
    path.write_text(textwrap.dedent(CLASS))
    assert problems(tmp_path, path) == []
    assert policies.load(str(path), {"cacheDirectory": ""}).handlers["smtpRcpt"]


@needs_compiler
def test_modules(tmp_path):
    (tmp_path / "rules.js").write_text("exports.known = function (name) { return name === 'example.org'; };\n")
    (tmp_path / "more.ts").write_text(
        "import {SmtpResponse} from 'mailfilter';\nexport function no(): SmtpResponse { return new SmtpResponse(550, 'No'); }\n")
    (tmp_path / "policy.js").write_text(textwrap.dedent("""
        var rules = require('./rules'), more = require('./more');
        SmtpServer.prototype.smtpRcpt = function (path) {
            return rules.known(path.mailbox.domain) ? new SmtpResponse(250, 'Ok') : more.no();
        };
    """))
    assert problems(tmp_path, *(tmp_path / name for name in ("policy.js", "rules.js", "more.ts"))) == []
    assert policies.load(str(tmp_path / "policy.js"), {"cacheDirectory": ""}).handlers["smtpRcpt"]


@needs_compiler
def test_a_javascript_policy_that_names_no_types(tmp_path):
    path = tmp_path / "policy.js"
    path.write_text(textwrap.dedent("""
        SmtpServer.prototype.relay = function (verb, args) {
            this.smtpClient.sendCommand(verb, args);
            return this.smtpClient.readResponse();
        };
        SmtpServer.prototype.smtpRcpt = function (path) {
            return path.mailbox.domain === 'example.org' ? this.relay('RCPT', 'TO:' + path) : new SmtpResponse(550, 'No');
        };
    """))
    assert problems(tmp_path, path) == []


BAD = [
    ("SmtpServer.prototype.smtpRcpt = function (path) { return 'ok'; };", "string"),
    ("SmtpServer.prototype.smtpRcpt = function (path) { };", "void"),
    ("SmtpServer.prototype.smtpMail = function (path) { return new SmtpResponse(250, path.mailbox.host); };", "host"),
    ("SmtpServer.prototype.smtpMail = function (path) { return new SmtpResponse(this.remoteAddr, 'x'); };", "number"),
    ("SmtpServer.prototype.smtpInit = function () { return {code: 220}; };", "SmtpReply"),
    ("SmtpServer.prototype.smtpData = function (headers, body) { return body; };", "SmtpBody"),
    ("SmtpServer.prototype.smtpBody = function (headers, body) { body.length = 3; };", "read-only"),
    ("SmtpServer.limits = {recipient: 5};", "recipient"),
    ("SmtpServer.listenAddress = [['127.0.0.1']];", "port"),
    ("new SmtpResponse(250);", "Expected"),
    ("new SmtpClient('mx', '25');", "number"),
    ("new SmtpClient('mx').send('x');", "send"),
    ("Sys.log(Sys.LOG_LOUD, 'x');", "LOG_LOUD"),
    ("Sys.setting('n', 5).toLowerCase();", "toLowerCase"),
    ("SmtpServer.limts = {recipients: 5};", "limts"),
    ("Sys.all([1]);", "number"),
    ("console.log('x');", "console"),
]


@needs_compiler
def test_mistakes_are_found(tmp_path):
    paths = []
    for number, (source, _) in enumerate(BAD):
        paths.append(tmp_path / f"bad{number}.ts")
        # A module of its own, so that the files do not see each other's names.
        paths[-1].write_text(f"export {{}};\n{source}\n")
    said = problems(tmp_path, *paths, strict=True)
    for number, (source, word) in enumerate(BAD):
        about = [line for line in said if f"bad{number}.ts(2," in line]
        assert any(word in line for line in about), f"{source}: {about}"


# What the library has, as the program itself sees it.

PROBE = """
    function names(object) {
        return Object.getOwnPropertyNames(object).filter(function (name) { return name !== 'constructor'; }).sort();
    }
    void Sys.all;       // comes when it is named
    void {}.decoded;
    /* What is global beside the language itself; each is there when it is named. */
    void [Arc, AuthResults, {}.smtpAuth, {}.receivedHeader, {}.inspect, SmtpRoutes, Sql, DriverManager, Http,
          Greylist, Maps, Dns, Dnsbl,
          Spf, SpfServer, SpfResponse, ClamAV, SpamAssassin, Rspamd, Milter, require];
    SmtpServer.library = Object.keys(require('mailfilter'));
    SmtpServer.globals = Object.getOwnPropertyNames(this).filter(function (name) {
        return own.indexOf(name) < 0 && LANGUAGE.indexOf(name) < 0;
    });
    SmtpServer.told = {
        SmtpServer: names(SmtpServer.prototype), SmtpClient: names(SmtpClient.prototype), SmtpRoutes: names(SmtpRoutes.prototype),
        SmtpPath: names(SmtpPath.prototype), SmtpHeader: names(SmtpHeader.prototype),
        SmtpResponse: names(SmtpResponse.prototype), Maildir: names(Maildir.prototype),
        Quarantine: names(Quarantine.prototype), Sys: names(Sys),
        ClamAV: names(ClamAV.prototype), SpamAssassin: names(SpamAssassin.prototype), Rspamd: names(Rspamd.prototype),
        Milter: names(Milter.prototype),
        Http: names(Http), Maps: names(Maps),
        Store: names(Store.prototype), RateLimit: names(RateLimit.prototype), Greylist: names(Greylist.prototype),
        Sql: names(Sql), DriverManager: names(DriverManager), Connection: names(Connection.prototype),
        Statement: names(Statement.prototype), ResultSet: names(ResultSet.prototype),
        PreparedStatement: names(PreparedStatement.prototype).concat(names(Statement.prototype)),
        Dns: names(Dns), Dkim: names(Dkim), Arc: names(Arc),
        AuthResults: names(AuthResults), Dmarc: names(Dmarc), Spf: names(Spf), SpfServer: names(SpfServer.prototype),
        Dnsbl: names(Dnsbl.prototype), SpfResponse: names(SpfResponse.prototype)
    };
    SmtpServer.fields = {
        ClamAV: names(new ClamAV('x')),
        SpamAssassin: names(new SpamAssassin('x')),
        Rspamd: names(new Rspamd('x')), Milter: names(new Milter('x')),
        SmtpServer: names(new SmtpServer('', 0)), SmtpClient: names(new SmtpClient('')),
        SmtpRoutes: names(new SmtpRoutes()), SmtpPath: names(new SmtpPath()),
        SmtpHeader: names(new SmtpHeader('')), SmtpResponse: names(new SmtpResponse(250, '')), Maildir: names(new Maildir('')),
        Quarantine: names(new Quarantine('/x')),
        Store: names(new Store('/x')).filter(function (name) { return name !== 'url'; }),
        RateLimit: names(new RateLimit('x', {most: 1, store: 1})), Greylist: names(new Greylist({store: 1})),
        Dnsbl: names(new Dnsbl([])), SpfResponse: names(new SpfServer(Spf.DNS_CACHE).query('127.0.0.1', 'a.example'))
    };
"""


@lru_cache(maxsize=1)
def statics():
    path = PROJECT / "build" / "probe.js"
    path.parent.mkdir(exist_ok=True)
    language = TestHeap()("JSON.stringify(Object.getOwnPropertyNames(this))")
    path.write_text(f"var LANGUAGE = {language};\nvar own = ['LANGUAGE', 'own', 'names'];\n" + PROBE)
    try:
        return policies.load(str(path), {}, log=logs.Log(logs.TextSink(2), logs.ERR)).statics
    finally:
        path.unlink()


def declared(name):
    """{member: whether optional} of a class, interface or namespace in the declarations; statics are left out."""
    text = re.sub(r"/\*.*?\*/", "", DECLARATIONS.read_text("utf-8"), flags=re.DOTALL)
    opening = rf"^(?:declare (?:class|namespace)|interface) {name}\b[^{{]*\{{\n"
    body = re.search(rf"{opening}(.*?)^\}}", text, re.DOTALL | re.MULTILINE)[1]
    if name in ("Arc", "AuthResults", "Dkim", "Dmarc", "Dns", "DriverManager", "Http", "Maps", "Spf", "Sql", "Sys"):
        return dict.fromkeys(re.findall(r"(?:const |, |function )(\w+)(?=: |[(<])", "\n".join(
            line if "const" in line else line.partition("(")[0] + "(" for line in body.splitlines())), False)
    members = {}
    for member, optional in re.findall(r"^    (?:readonly )?(\w+)(\??)[(:]", body, re.MULTILINE):
        if member != "constructor":
            members[member] = bool(optional)
    return members


MEMBERS = ["SmtpServer", "SmtpClient", "SmtpRoutes", "SmtpPath", "SmtpHeader", "SmtpResponse", "Maildir", "Quarantine", "Dns",
           "Dnsbl",
           "Arc", "AuthResults", "Dkim", "Dmarc", "Spf",
           "ClamAV", "SpamAssassin", "Rspamd", "Milter", "Http", "Maps", "Store", "RateLimit", "Greylist",
           "Sql", "DriverManager", "Connection", "Statement", "PreparedStatement", "ResultSet",
           "SpfServer", "SpfResponse", "Sys"]


@pytest.mark.parametrize("name", MEMBERS)
def test_what_is_declared_is_there_and_the_other_way_round(name):
    there = set(statics()["told"][name]) | set(statics()["fields"].get(name, ()))
    asked_only_if_defined = {member for member, optional in declared(name).items() if optional}
    assert set(declared(name)) - asked_only_if_defined == there
    assert not asked_only_if_defined & there


GLOBALS = r"^declare (?:class|namespace|var|function) (\w+)"
# Parameters of the function that a module is.
OF_MODULES = {"exports", "module", "__filename", "__dirname"}


def test_all_that_is_global_is_declared_and_the_other_way_round():
    text = DECLARATIONS.read_text("utf-8")
    named = set(re.findall(GLOBALS, text, re.MULTILINE)) - OF_MODULES
    assert named == set(statics()["globals"])
    assert named - {"require"} == set(MEMBERS) == set(statics()["library"])
    assert set(re.findall(r"^    (\w+): typeof \1;$", text, re.MULTILINE)) == named - {"require"}


def test_everything_declared_is_explained():
    lines = DECLARATIONS.read_text("utf-8").split("\n")
    bare = []
    for above, line in zip(lines, lines[1:], strict=False):
        member = re.match(r"(?:    (?:static |readonly |function )?(\w+)[?(:<]|declare \w+ (\w+)|interface (\w+))", line)
        if member is None or "typeof" in line or "= library" in line or line.startswith("declare module"):
            continue
        name = next(filter(None, member.groups()))
        overloaded = re.match(rf"    (?:function )?{name}[(<]", above)
        by_its_type = line.startswith("declare var SmtpServer")
        if not above.rstrip().endswith("*/") and not overloaded and not by_its_type and name not in ("const", "new"):
            bare.append(line.strip())
    assert bare == []


def test_the_body_is_declared():
    source = "".join((library.directory() / name).read_text("utf-8") for name in ("body.js", "parts.js"))
    methods = set(re.findall(r"Body\.prototype\.(\w+) =", source))
    assert set(declared("SmtpBody")) == methods | {"length"}


def test_parts_are_declared():
    source = (library.directory() / "parts.js").read_text("utf-8")
    made = source[source.index("function SmtpPart"):source.index("/** Its own header")]
    members = {*re.findall(r"SmtpPart\.prototype\.(\w+) =", source), *re.findall(r"this\.(\w+) = ", made), "extension"}
    assert set(declared("SmtpPart")) == members


def test_handlers_that_are_asked_only_when_defined_are_declared():
    from mailfilter.net import inbound
    optional = {member for member, optional in declared("SmtpServer").items() if optional}
    assert optional == {*inbound._OPTIONAL.values(), "smtpBody"}


@pytest.mark.parametrize("name, numbers", [("SmtpLimits", Limits()), ("SmtpTimeouts", Timeouts())])
def test_limits_and_timeouts_are_declared_with_their_defaults(name, numbers):
    assert list(declared(name)) == list(vars(numbers))
    text = DECLARATIONS.read_text("utf-8")
    for key, value in vars(numbers).items():
        told = re.search(rf"Default ([0-9]+)( KiB| MiB)?\. \*/\n    {key}\?:", text)
        assert told, f"{key} says no default"
        assert int(told[1]) * {None: 1, " KiB": 1 << 10, " MiB": 1 << 20}[told[2]] == value
