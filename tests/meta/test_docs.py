"""README.md and docs/ against the program: links, options, limits, handlers, replies, the API, and every example.

What is documented exists, and what exists is documented.
"""
import importlib.util
import re
import shlex
import socket
import subprocess

import pytest
from sources import PROJECT, files

from mailfilter import cli, config
from mailfilter import log as logs
from mailfilter import policy as policies
from mailfilter._core import session
from mailfilter._core.command import VERBS
from mailfilter.net import admission, endings, inbound
from mailfilter.policy import library

DOCS = PROJECT / "docs"
PAGES = [PROJECT / path for path in files() if path.suffix == ".md" and path.parts[0] in ("README.md", "docs")]
REFERENCE = DOCS / "reference"
# Its owner checks the examples of other dialects.
OTHER_DIALECTS = DOCS / "javascript.md"


def text_of(path):
    return path.read_text("utf-8")


def name_of(path):
    return str(path.relative_to(PROJECT))


def blocks(path, language):
    """The code blocks in a language: (number of the first line, text)."""
    text = text_of(path)
    return [(text.count("\n", 0, found.start()) + 2, found[1])
            for found in re.finditer(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)]


def without_blocks(text):
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """The anchors of a page's headings, as they are made on the web."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
            for title in re.findall(r"^#+ (.+)$", without_blocks(text_of(path)), re.MULTILINE)}


def section(path, title):
    """What stands below a heading, up to the next of its kind."""
    level, rest = re.search(rf"^(#+) {re.escape(title)}$\n(.*)", text_of(path), re.DOTALL | re.MULTILINE).groups()
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text):
    """The first cell of each row of the tables in a text, without heads and empty cells."""
    cells = [row.split("|")[1].strip() for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    return [cell for cell in cells if cell.startswith("`")]


def coded(text):
    return re.findall(r"`([^`\n]+)`", text)


# Links.

@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{name_of(page)}: {target}"


def test_every_page_can_be_reached_from_the_map():
    targets = re.findall(r"\]\(([^)\s]+)\)", text_of(DOCS / "index.md"))
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in targets}
    assert {page for page in PAGES if page.is_relative_to(DOCS)} - {DOCS / "index.md"} <= linked


def test_every_folder_of_sources_is_on_the_map():
    shown = set(re.findall(r"`((?:mailfilter/)?\w+/)`", section(DOCS / "index.md", "The sources")))
    packages = {f"mailfilter/{path.parts[1]}/" for path in files() if path.parts[0] == "mailfilter" and len(path.parts) > 2}
    assert shown == packages | {"js/", "tests/", "bench/"}


# Tables.

@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_are_whole(page):
    """A table has a head, and as many cells in each row: a stray blank line or bar breaks it on the web, not here."""
    for table in re.findall(r"(?:^\|.*\n)+", without_blocks(text_of(page)), re.MULTILINE):
        rows = table.splitlines()
        assert len(rows) > 2 and re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", rows[1]), rows[0]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


# Generated parts.

def test_generated_parts_are_up_to_date():
    found = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    generate = importlib.util.module_from_spec(found)
    found.loader.exec_module(generate)
    used = set()
    for page in PAGES:
        text = text_of(page)
        assert generate.renewed(text) == text, f"{name_of(page)}: run .venv/bin/python docs/generate.py"
        used |= set(re.findall(r"<!-- generated: ([a-z-]+) -->", text))
    assert used == set(generate.PARTS)


# The command line.

def commands():
    """{command: its options} as argparse has them; "" for those before a command."""
    found, left = {}, {"": cli._parser()}
    while left:
        name, parser = left.popitem()
        found[name] = parser
        for action in parser._actions:
            if hasattr(action.choices, "items"):
                left |= {f"{name} {choice}".strip(): below for choice, below in action.choices.items()}
    return found


def options_of(parser):
    return {option for action in parser._actions for option in action.option_strings}


def test_every_option_is_documented_and_every_documented_option_exists():
    page = REFERENCE / "cli.md"
    told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(coded(text_of(page)))))
    known = set().union(*(options_of(parser) for parser in commands().values()))
    assert told == known
    for command in commands():
        assert f"mailfilter {command}" in text_of(page)


def shell_lines(page):
    for number, block in blocks(page, "sh"):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if line.strip():
                yield number, line.strip()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_examples_are_possible(page):
    targets = set(re.findall(r"^([a-z-]+):", text_of(PROJECT / "Makefile"), re.MULTILINE))
    text = text_of(page)
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert target in targets, target
    for number, line in shell_lines(page):
        for part in line.split(" && "):
            words = shlex.split(part.replace("[POLICY] [OPTIONS]", "").replace("[POLICY] [--set ...]", ""), comments=True)
            if not words:
                continue
            if words[0] == "make":
                assert set(words[1:]) <= targets, f"{name_of(page)}:{number}: {line}"
            elif words[0].rpartition("/")[2] == "mailfilter":
                try:
                    cli._parser().parse_args(words[1:])
                except SystemExit as ended:
                    assert ended.code == 0, f"{name_of(page)}:{number}: {line}"


# Limits and timeouts.

@pytest.mark.parametrize("title, numbers", [("Limits", config.Limits()), ("Timeouts", config.Timeouts())])
def test_limits_and_timeouts_are_documented_with_their_defaults(title, numbers):
    rows = re.findall(r"^\| `(\w+)` \| ([0-9]+) \|", section(REFERENCE / "limits-and-timeouts.md", title), re.MULTILINE)
    assert {name: int(value) for name, value in rows} == vars(numbers)


def test_least_values_are_documented():
    rows = section(REFERENCE / "limits-and-timeouts.md", "Limits")
    for name, least in config._LEAST.items():
        if least > 1:
            row = re.search(rf"^\| `{name}` .*$", rows, re.MULTILINE)[0]
            words = f"{least >> 20} MiB" if least >= 1 << 20 else str(least)
            assert f"at least {words}" in row, name


# Handlers.

def defaults():
    source = text_of(library.directory() / "server.js")
    return set(re.findall(r"SmtpServer\.prototype\.(smtp\w+|cleanup) = function", source))


def test_handlers_are_documented():
    page = REFERENCE / "handlers.md"
    with_default = {cell.strip("`").partition("(")[0] for cell in first_cells(section(page, "Handlers with a default"))}
    without = {cell.strip("`").partition("(")[0] for cell in first_cells(section(page, "Handlers without a default"))}
    assert with_default == defaults()
    assert without == {*inbound._OPTIONAL.values(), "smtpBody"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_handlers_that_are_mentioned_exist(page):
    known = defaults() | {*inbound._OPTIONAL.values(), "smtpBody", "smtpClient", "smtpComment"}
    for name in re.findall(r"\bsmtp[A-Z]\w+", text_of(page)):
        assert name in known, name


# Replies.

def given_replies():
    """What the program can say by itself, as "code enhanced text"."""
    replies = {reply.format().decode().rstrip() for reply in session.REPLIES.values()}
    # The default replies that the shell lets the session give: those of handlers that a policy need not have.
    for _number, verb, _argument, _flags, (code, enhanced, words) in VERBS:
        if verb not in (b"HELO", b"EHLO", b"MAIL", b"RCPT", b"RSET") and words:
            replies.add(" ".join(part for part in (str(code), (enhanced or b"").decode(), words.decode()) if part))
    replies |= {f"{code} {words.decode()}".replace("%d", "300") for code, words in endings.ENDINGS.values()}
    replies |= {reply.decode().rstrip() for reply in admission.REFUSALS.values()}
    source = "".join(text_of(PROJECT / "mailfilter/net" / name) for name in ("inbound.py", "authentication.py"))
    for code, words in re.findall(r'\(([245]\d\d), \[b"([245]\.\d\.\d [^"]*)"', source) + re.findall(
            r'b"([245]\d\d) ([245]\.\d\.\d [^"\\]*)\\r\\n"', source):
        replies.add(f"{code} {words}".replace("%d", "300"))
    (sorry,) = re.findall(r'b"([^"]*\()" \+ self\.session_id', source)
    replies |= {f"451 {sorry}SESSION)", f"421 {sorry}SESSION)"}
    return replies


def library_replies():
    source = text_of(library.directory() / "server.js")
    replies = {f"{code} {words}" for code, words in re.findall(r"respond\((\d+), '([^']*)'\)", source)}
    return replies | {"220 HOSTNAME ESMTP", "250 HOSTNAME"}


def policy_replies():
    replies = set()
    for path in sorted((library.directory() / "policies").glob("*.js")):
        for code, words in re.findall(r"new SmtpResponse\((\d+), '([^']*)'", text_of(path).partition("*/")[2]):
            replies.add(f"{code} {words}")
        # What Findings.add refuses with, where the administrator wants that.
        replies |= {f"550 {words}" for words in re.findall(r"'(5\.\d\.\d+ [^']+)'", re.sub(
            r"new SmtpResponse\([^\n]*", "", text_of(path).partition("*/")[2]))}
    return replies


def test_replies_are_documented_and_the_documented_ones_exist():
    told = {cell.strip("`").strip() for cell in first_cells(text_of(REFERENCE / "replies.md"))}
    ours = given_replies() | library_replies()
    assert ours <= told, ours - told
    theirs = left = told - ours
    for reply in policy_replies():
        # A reply of a shipped policy may go on with something variable; the library's defaults may be among them.
        matching = {other for other in theirs if other.startswith(reply)}
        assert matching or reply in ours, reply
        left = left - matching
    assert left == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ("differences.md", "javascript.md")], ids=name_of)
def test_replies_that_are_mentioned_exist(page):
    """Whole replies of the program in the text: a code, an enhanced code and words."""
    known = given_replies() | library_replies() | policy_replies()
    for reply in coded(without_blocks(text_of(page))):
        if re.match(r"[245]\d\d [245]\.\d\.\d \w", reply) and page.parent == REFERENCE and page.name != "replies.md":
            assert reply in known, reply


# The API.

PROBE = """
    void [Sys.all, SmtpRoutes, {}.decoded];       // they come when they are named
    SmtpServer.told = (function () {
        function names(Class) {
            var made = Class === Sys ? Sys : new Class('', 0);
            return Object.getOwnPropertyNames(made).concat(Class.prototype ? Object.getOwnPropertyNames(Class.prototype) : [])
                .filter(function (name) { return name !== 'constructor'; });
        }
        return {
            SmtpServer: names(SmtpServer), SmtpClient: names(SmtpClient), SmtpRoutes: names(SmtpRoutes),
            SmtpPath: names(SmtpPath), Sys: names(Sys),
            SmtpHeader: names(SmtpHeader), SmtpResponse: names(SmtpResponse), Maildir: names(Maildir),
            Quarantine: Object.keys(new Quarantine('/x')).concat(Object.keys(Quarantine.prototype)),
            ClamAV: names(ClamAV), SpamAssassin: names(SpamAssassin), Rspamd: names(Rspamd),
            Milter: names(Milter),
            Maps: Object.keys(Maps).concat(['get', 'has', 'path', 'kind', 'away']),
            Http: Object.keys(Http), Store: Object.keys(new Store('/x')).concat(Object.keys(Store.prototype)),
            RateLimit: Object.keys(new RateLimit('x', {most: 1, store: 1})).concat(Object.keys(RateLimit.prototype)),
            Greylist: Object.keys(new Greylist({store: 1})).concat(Object.keys(Greylist.prototype)),
            Sql: Object.keys(Sql).concat(Object.keys(Object.getPrototypeOf(Sql.connect('sqlite:/x')))),
            DriverManager: Object.keys(DriverManager), Connection: Object.keys(Connection.prototype),
            Statement: Object.keys(Statement.prototype), PreparedStatement: Object.keys(PreparedStatement.prototype),
            ResultSet: Object.keys(ResultSet.prototype),
            Dkim: Object.keys(Dkim), Arc: Object.keys(Arc), AuthResults: Object.keys(AuthResults),
            Dmarc: Object.keys(Dmarc), SpfServer: ['query'],
            Dnsbl: Object.keys(new Dnsbl([])).concat(Object.keys(Dnsbl.prototype)),
            SpfResponse: Object.getOwnPropertyNames(SpfResponse.prototype), Spf: Object.getOwnPropertyNames(Spf),
            Dns: Object.getOwnPropertyNames(Dns).filter(function (name) { return !/^t_/.test(name); })
        };
    }());
    SmtpServer.globals = Object.keys(this);
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "probe.js"
    path.write_text(PROBE)
    return policies.load(str(path), {}, log=logs.Log(logs.TextSink(2), logs.ERR)).statics


def test_the_list_of_sections_is_whole():
    text = text_of(REFERENCE / "api.md")
    listed = re.search(r"^\[SmtpServer\].*?\n\n", text, re.DOTALL | re.MULTILINE)[0]
    assert re.findall(r"\[(\w+)\]\(#", listed) == re.findall(r"^## (\w+)$", text, re.MULTILINE)


def test_every_global_has_its_section(api):
    sections = re.findall(r"^## (\w+)$", text_of(REFERENCE / "api.md"), re.MULTILINE)
    # The engine's own, and what belongs to the language, which has a page to itself.
    theirs = {"performance"} | set(re.findall(r"`(\w+)", text_of(OTHER_DIALECTS) if OTHER_DIALECTS.exists() else ""))
    assert set(sections) - {"body", "parts"} == {name for name in api["globals"] if name in sections or name not in theirs}
    assert set(sections) - {"body", "parts"} == set(api["told"])


@pytest.mark.parametrize("name", ["SmtpServer", "SmtpClient", "SmtpRoutes", "SmtpPath", "SmtpHeader", "SmtpResponse",
                                  "Maildir", "Quarantine", "Dns", "Dnsbl",
                                  "Dkim", "Arc", "AuthResults", "Dmarc", "Spf", "SpfServer", "Sys",
                                  "Http", "Maps", "Store", "RateLimit", "Greylist", "ClamAV", "SpamAssassin", "Rspamd", "Milter",
                                  "Sql", "DriverManager", "Connection", "Statement", "PreparedStatement", "ResultSet"])
def test_every_member_is_documented(api, name):
    text = section(REFERENCE / "api.md", name)
    words = set(re.findall(r"\w+", " ".join(coded(text))))
    members = {member for member in api["told"][name] if not re.match(r"smtp[A-Z]|cleanup$|LOG_LOCAL[1-6]$", member)}
    assert members <= words, members - words
    if name == "SmtpServer":
        return
    for method in re.findall(r"^- `(\w+)\(", text, re.MULTILINE):
        assert method in api["told"][name], method


def test_the_body_is_documented():
    sources = "".join(text_of(library.directory() / name) for name in ("body.js", "parts.js"))
    for of, name in (("Body", "body"), ("SmtpPart", "parts")):
        methods = set(re.findall(rf"{of}\.prototype\.(\w+) =", sources))
        text = section(REFERENCE / "api.md", name)
        assert methods <= set(re.findall(r"`(\w+)\(", text)) and "`length`" in text


# Examples.

EXAMPLES = [(page, number, block) for page in PAGES if page != OTHER_DIALECTS for number, block in blocks(page, "js")]


@pytest.mark.parametrize("page, number, block", EXAMPLES, ids=[f"{name_of(page)}:{number}" for page, number, _ in EXAMPLES])
def test_policies_in_the_documents_can_be_loaded(page, number, block, tmp_path):
    path = tmp_path / "policy.js"
    path.write_text(block)
    for name in re.findall(r"Maps\.load\('([^']+)'", block):
        (tmp_path / name).write_text("")
    assert cli.main(["check", str(path)]) == 0


def settings_of(path):
    """The settings that a shipped policy or module reads: by Sys.setting, or by the functions of its module settings."""
    return set(re.findall(r"\b(?:Sys\.setting|settings\.\w+)\('(\w+)'", text_of(path).partition("*/")[2]))


def told_in(path):
    """Those that the comment at the top of the file tells of."""
    source = text_of(path)
    return set(re.findall(r"^ \*   (\w+)  ", source[:source.index("*/")], re.MULTILINE))


@pytest.mark.parametrize("name", library.shipped_policies())
def test_settings_of_the_shipped_policies_are_in_the_policy_and_on_the_page(name):
    path = library.shipped_policy(name)
    assert settings_of(path) == told_in(path)
    if name != "mx":            # it has a page of its own
        assert settings_of(path) == {cell.strip("`") for cell in first_cells(section(DOCS / "policies.md", name))}
    assert f"**`{name}`**" in text_of(PROJECT / "README.md")


@pytest.mark.parametrize("name", sorted(library.MODULES))
def test_settings_of_modules_are_in_the_module_and_on_a_page(name):
    path = library.directory() / "policies" / f"{name}.js"
    assert settings_of(path) == told_in(path)
    pages = {"authenticate": ("authentication.md", "Settings"), "junk": ("policies.md", "junk")}
    if name in pages:
        page, title = pages[name]
        assert f"mailfilter/policies/{name}`" in text_of(DOCS / page)
        assert settings_of(path) == {cell.strip("`") for cell in first_cells(section(DOCS / page, title))}
    else:
        assert f"mailfilter/policies/{name}`" in text_of(DOCS / "policies.md") + text_of(DOCS / "mx.md")


def test_every_setting_of_mx_is_on_its_page_in_the_table_of_its_kind():
    told = [cell.strip("`") for cell in first_cells(section(DOCS / "mx.md", "Settings"))]
    parts = ("mx", "onward", "score", "clients", "content")
    used = [settings_of(library.directory() / "policies" / f"{name}.js") for name in parts]
    assert sorted(told) == sorted(name for names in used for name in names)


def test_the_example_of_mx_is_taken(monkeypatch, tmp_path):
    """The settings of the front on the internet, from the environment, and each of them is one."""
    block = dict(line.split("=", 1) for line in blocks(DOCS / "mx.md", "text")[-1][1].splitlines())
    known = set()
    for name in ("mx", *library.MODULES):
        known |= settings_of(library.directory() / "policies" / f"{name}.js")
    for name, value in block.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAILFILTER_STORE", str(tmp_path / "store.db"))
    assert set(block) <= {"MAILFILTER_" + re.sub(r"([A-Z])", r"_\1", name).upper() for name in known}
    assert cli.main(["check", "mx"]) == 0


def test_what_check_prints_in_the_tutorial(tmp_path, monkeypatch, capsys):
    page = DOCS / "tutorial.md"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.js").write_text(blocks(page, "js")[0][1])
    assert cli.main(["check", "policy.js"]) == 0
    changing = "(version|image): .*"         # another one for each version and machine
    printed = re.sub(changing, r"\1:", capsys.readouterr().out)
    assert printed in [re.sub(changing, r"\1:", text) for _, text in blocks(page, "text")]


def test_make_targets_are_in_readme():
    listed = subprocess.run(["make", "-s", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "bench", "lint", "help"):
        assert f"make {target}" in listed and f"`make {target}`" in text_of(PROJECT / "README.md")


def test_the_dialogue_in_readme_is_what_its_policy_says(serve, tmp_path):
    (_, source), = blocks(PROJECT / "README.md", "js")
    (_, dialogue), = blocks(PROJECT / "README.md", "text")
    policy = tmp_path / "policy.js"
    policy.write_text(source.replace("'Maildir'", repr(str(tmp_path / "Maildir"))))
    server = serve(policy, options=["--hostname", "mx.example.org"])
    heard, message = [], []
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client, client.makefile("rwb") as file:
        for line in dialogue.splitlines():
            if re.match(r"[2345]\d\d[ -]", line):
                client_says = b"".join(said.encode() + b"\r\n" for said in message)
                message.clear()
                file.write(client_says)
                file.flush()
                heard.append(file.readline().decode().rstrip("\r\n"))
                assert heard[-1] == line
            else:
                message.append(line)
    assert len(list((tmp_path / "Maildir" / "new").iterdir())) == 1
    assert heard[-1].startswith("250 2.0.0 Delivered")


def test_the_documents_speak_of_the_project_alone():
    for page in PAGES:
        assert not re.search(r"/work/|/tmp/|registry|sandbox", text_of(page)), name_of(page)
