"""What a policy's header list is to the program: a field that is as it came has no text, any other is written anew."""
import pytest

from mailfilter._core.header import split_header
from mailfilter.config import Settings
from mailfilter.mail.message import Message
from mailfilter.policy import engine, load

POLICY = r"""
SmtpServer.prototype.smtpInit = function () {
    this.client = new SmtpClient("next.test");
    this.client.connect();
    return new SmtpResponse(220, "here");
};
SmtpServer.prototype.smtpNoop = function (code) { this.change = (0, eval)("(function (headers) {" + code + "})"); };
SmtpServer.prototype.smtpData = function (headers, body) {
    headers = this.change(headers) || headers;
    this.client.sendMessage(headers, body);
    return new SmtpResponse(250, "passed on");
};
"""
ARRIVED = [b"Received", [b"from a", b"\tby b;", b"\tMon"], b"Subject", [b"caf\xc3\xa9"], b"X-Octets", [b"a\xff\x80b"],
           b"", [b"no field"], b"Empty", []]
AS_IT_CAME = [0, None, 1, None, 2, "X-Octets: a\udcff\udc80b", 3, ": no field", 4, None]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("outgoing") / "policy.js"
    path.write_text(POLICY, "utf-8")
    return load(path, Settings({"cacheDirectory": ""}, {}), hostname="mx.test")


@pytest.fixture
def heap(policy):
    heap = policy.new_heap(lambda name, *arguments: 1)
    heap.call(engine.OPEN, "192.0.2.1", 25, "one")
    heap.call(engine.START, ("smtpInit",))
    heap.call(engine.RESUME, 1)
    yield heap
    heap.close()


def sent(heap, code, known=True):
    heap.call(engine.START, ("smtpNoop", code))
    heap.arrived(ARRIVED if known else None)
    name, _handle, headers, _body = heap.call(engine.START, ("smtpData", ARRIVED, 1, 100))
    assert name == "client.message"
    assert heap.call(engine.RESUME, 1)[0] == 250
    heap.arrived(None)
    return headers


@pytest.mark.parametrize("code,expected", [
    ("", AS_IT_CAME),
    ("headers.unshift(new SmtpHeader('A', 'b'));", [-1, "A: b", *AS_IT_CAME]),
    ("headers.push('C: d', {toString: function () { return 'E: f'; }});", [*AS_IT_CAME, -1, "C: d", -1, "E: f"]),
    ("headers.shift(); headers.reverse(); headers.length = 1;", [4, None]),
    ("return [headers[1], headers[1]];", [1, None, 1, None]),
    ("headers.splice(2, 3); headers[1].parts[0] += '!'; ", [0, None, 1, "Subject: caf\u00e9!"]),
    ("headers.splice(1, 4); headers[0].parts.pop();", [0, "Received: from a\r\n\tby b;"]),
    ("headers.splice(1, 4); headers[0].parts.push('x');", [0, "Received: from a\r\n\tby b;\r\n\tMon\r\nx"]),
    ("headers.splice(1, 4); headers[0].parts = headers[0].parts.slice();", [0, None]),
    ("headers.splice(1, 4); headers[0].parts = {length: 1, 0: 'like'};", [0, "Received: like"]),
    ("headers.splice(2, 3); headers[1].name = 'subject';", [0, None, 1, "subject: caf\u00e9"]),
    ("headers.splice(1, 4); headers[0].toString = function () { return 'own: text'; };", [0, "own: text"]),
    ("headers.splice(2, 3); SmtpHeader.prototype.toString = function () { return 'all: text'; };",
     [0, "all: text", 1, "all: text"]),
    ("headers.splice(2, 3); Object.defineProperty(headers[0], 'name', {get: function () { headers.length = 1; return 'n'; }});",
     [0, "n: from a\r\n\tby b;\r\n\tMon"]),
    ("return {length: 2, 0: headers[1], 1: 'like: array'};", [1, "Subject: caf\u00e9", -1, "like: array"]),
    ("return [];", []),
])
def test_only_what_was_changed_is_written_anew(heap, code, expected):
    assert sent(heap, code) == expected


def test_without_the_section_that_arrived_everything_has_a_text(heap):
    assert sent(heap, "", known=False)[:4] == [0, "Received: from a\r\n\tby b;\r\n\tMon", 1, "Subject: caf\u00e9"]
    assert None not in sent(heap, "", known=False)


def test_a_header_of_an_earlier_message_is_compared_with_what_came_now(heap):
    sent(heap, "kept = headers.slice(0, 2); kept[0].parts[0] += ' and more';")
    assert sent(heap, "return kept;") == [0, "Received: from a and more\r\n\tby b;\r\n\tMon", 1, None]


def test_both_forms_mean_the_same_octets(heap):
    fields = split_header(b"Received: from a\r\n\tby b;\r\n\tMon\r\nSubject:   caf\xc3\xa9\r\nX-Octets: a\xff\x80b\r\n")
    told, texts = sent(heap, "headers.length = 3;"), sent(heap, "headers.length = 3;", known=False)

    def lines(flat):
        return Message(fields, True).outgoing(zip(flat[::2], flat[1::2], strict=True))

    assert told[:4] == [0, None, 1, None] and None not in texts
    assert lines(told) == lines(texts) == [field.raw for field in fields]


@pytest.mark.parametrize("wrong,said", [
    ("return [null];", "headers[0] is null; it must be an SmtpHeader or a text"),
    ("headers[1].name = 'a:b';", "headers[1] has a colon in its name"),
    ("headers[2] = {toString: function () { throw new Error('mine'); }};", "mine"),
    ("return new Array(3);", "headers[0] is undefined"),
])
def test_what_is_no_header_is_told(heap, wrong, said):
    heap.call(engine.START, ("smtpNoop", wrong))
    heap.arrived(ARRIVED)
    with pytest.raises(Exception, match="(?s).*" + said.replace("[", r"\[").replace("]", r"\]")):
        heap.call(engine.START, ("smtpData", ARRIVED, 1, 100))
    heap.arrived(None)


def test_the_fields_are_what_they_were(heap):
    """Arrays, own properties and classes as a policy sees them."""
    code = """
        var names = [], own = [], i, key;
        for (i in headers) { names.push(i); }
        for (key in headers[1]) { if (headers[1].hasOwnProperty(key)) { own.push(key); } }
        if (names.join() !== '0,1,2,3,4' || own.join() !== 'name,parts' || !Array.isArray(headers) ||
            JSON.stringify(headers[1]) !== '{"name":"Subject","parts":["caf\\u00e9"]}' ||
            !(headers[0] instanceof SmtpHeader) || headers[0].constructor !== SmtpHeader || headers[1] !== headers.slice(1)[0]) {
            throw new Error('not as it was');
        }
        return ['ok: ' + headers.length];
    """
    assert sent(heap, code) == [-1, "ok: 5"]
    sent(heap, "SmtpHeader = function (name, parts) { this.name = 'X-' + name; this.parts = parts; };"
         "SmtpHeader.prototype.toString = function () { return this.name + ': mine'; };")
    assert sent(heap, "if (!(headers[0] instanceof SmtpHeader)) { throw new Error('not of the class that stands there now'); }"
                "return [headers[1]];") == [1, "X-Subject: mine"]


def test_the_section_is_refused_where_it_could_not_be_read(heap):
    with pytest.raises(ValueError, match="pairs"):
        heap.arrived([b"Subject"])
    with pytest.raises(TypeError):
        heap.arrived((b"Subject", [b"x"]))
