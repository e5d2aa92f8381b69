"""Paths and parameters of MAIL and RCPT."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter._core.address import Path, PathError, parse_params, parse_path


def path(text, **options):
    found, rest = parse_path(text, **{"allow_null": True, **options})
    assert rest == b""
    return found


@pytest.mark.parametrize(("text", "local", "domain"), [
    (b"<a@b>", b"a", b"b"),
    (b"<a@b.c>", b"a", b"b.c"),
    (b"<a.b+c@example.com>", b"a.b+c", b"example.com"),
    (b"<!#$%&'*+-/=?^_`{|}~@x>", b"!#$%&'*+-/=?^_`{|}~", b"x"),
    (b'<"a b"@c>', b'"a b"', b"c"),
    (b'<"a@b"@c>', b'"a@b"', b"c"),
    (b'<"a>b"@c>', b'"a>b"', b"c"),
    (b'<"a\\"b\\\\"@c>', b'"a\\"b\\\\"', b"c"),
    (b'<""@c>', b'""', b"c"),
    (b"<a@[192.0.2.1]>", b"a", b"[192.0.2.1]"),
    (b"<a@[IPv6:2001:db8::1]>", b"a", b"[IPv6:2001:db8::1]"),
    (b"<a@[ipv6:::ffff:192.0.2.1]>", b"a", b"[ipv6:::ffff:192.0.2.1]"),
    (b"<a@[x-tag:any!thing]>", b"a", b"[x-tag:any!thing]"),
    (b"<a@1.2.3.4>", b"a", b"1.2.3.4"),
    (b"<postmaster>", b"postmaster", None),
    (b"<PostMaster>", b"PostMaster", None),
    # wider than the grammar, because real mail is
    (b"<a..b@docomo.test>", b"a..b", b"docomo.test"),
    (b"<.a.@b>", b".a.", b"b"),
    (b"<a@under_score.test>", b"a", b"under_score.test"),
    (b"<a@_dmarc.test>", b"a", b"_dmarc.test"),
    (b" \t<a@b>", b"a", b"b"),
])
def test_paths(text, local, domain):
    found = path(text)
    assert (found.local, found.domain, found.is_null, found.route) == (local, domain, False, [])
    assert found.text == text.strip()


def test_null_path():
    found = path(b"<>")
    assert (found.local, found.domain, found.is_null, found.text) == (None, None, True, b"<>")
    with pytest.raises(PathError, match="null path"):
        parse_path(b"<>", allow_null=False)


def test_source_routes():
    found = path(b"<@one.test,@[192.0.2.1],@two:a@b>")
    assert found.route == [b"one.test", b"[192.0.2.1]", b"two"]
    assert (found.local, found.domain) == (b"a", b"b")
    assert found.text == b"<@one.test,@[192.0.2.1],@two:a@b>"


@pytest.mark.parametrize(("text", "reason", "offset"), [
    (b"", "no '<'", 0),
    (b"  ", "no '<'", 2),
    (b"a@b", "no '<'", 0),
    (b"<", "bad local part", 1),
    (b"<a", "no '>'", 2),
    (b"<a@", "bad domain", 3),
    (b"<a@b", "no '>'", 4),
    (b"<@b>", "bad source route", 3),
    (b"<@b:>", "bad local part", 4),
    (b"<@b,:a@c>", "bad source route", 4),
    (b"<@:a@c>", "bad domain", 2),
    (b"<a@>", "bad domain", 3),
    (b"<a>", "no domain", 2),
    (b"<  >", "bad local part", 1),
    (b"< a@b>", "bad local part", 1),
    (b"<a@b >", "no '>'", 4),
    (b"<a b@c>", "bad local part", 2),
    (b"<a@b@c>", "no '>'", 4),
    (b"<a> <b@c>", "no domain", 2),
    (b"<a@-b>", "bad domain", 5),
    (b"<a@b->", "bad domain", 5),
    (b"<a@b..c>", "bad domain", 5),
    (b"<a@.b>", "bad domain", 3),
    (b"<a@b.>", "bad domain", 5),
    (b'<"a@b>', "bad quoted", 6),
    (b'<"a"b@c>', "no '>'", 4),
    (b'<"a\tb"@c>', "bad quoted", 3),
    (b'<"a\\', "bad quoted", 4),
    (b'<"a">', "no domain", 4),
    (b"<a\0@b>", "bad local part", 2),
    (b"<a\r@b>", "bad local part", 2),
    (b"<a@b\n>", "no '>'", 4),
    (b"<a@[1.2.3]>", "bad address literal", 5),
    (b"<a@[1.2.3.256]>", "bad address literal", 5),
    (b"<a@[1.2.3.4>", "bad address literal", 3),
    (b"<a@[]>", "bad address literal", 4),
    (b"<a@[IPv6:1::2::3]>", "bad address literal", 9),
    (b"<a@[IPv6:]>", "bad address literal", 9),
    (b"<a@[x:]>", "bad address literal", 6),
    (b"<a@[x:a b]>", "bad address literal", 7),
    (b"<a@[x-:a]>", "bad address literal", 6),
    (b"<a@[1.2.3.4]b>", "no '>'", 12),
    (b"<\xe4@b>", "octet outside ASCII", 1),
    (b"<a@\xe4>", "octet outside ASCII", 3),
    (b'<"\xe4"@b>', "octet outside ASCII", 2),
    (b"<a@[x:\xe4]>", "octet outside ASCII", 6),
])
def test_no_paths(text, reason, offset):
    with pytest.raises(PathError) as caught:
        parse_path(text, allow_null=True)
    assert caught.value.reason.startswith(reason)
    assert caught.value.offset == offset


def test_rest():
    assert parse_path(b"<a@b> SIZE=10", allow_null=True)[1] == b" SIZE=10"
    assert parse_path(b"<a@b>c", allow_null=True)[1] == b"c"
    assert parse_path(b"<>>", allow_null=True)[1] == b">"


def test_limits():
    assert len(path(b"<" + b"a" * 256 + b"@b>").local) == 256
    with pytest.raises(PathError, match="local part too long"):
        path(b"<" + b"a" * 257 + b"@b>")
    assert len(path(b'<"' + b"a" * 254 + b'"@b>').local) == 256
    with pytest.raises(PathError, match="local part too long"):
        path(b'<"' + b"a" * 255 + b'"@b>')
    label = b"a" * 63
    assert len(path(b"<a@" + b".".join([label] * 4) + b">").domain) == 255
    with pytest.raises(PathError, match="domain too long"):
        path(b"<a@" + b".".join([label] * 4) + b".b>")
    with pytest.raises(PathError, match="domain too long"):
        path(b"<a@" + label + b"a>")
    assert len(path(b"<a@[x:" + b"y" * 251 + b"]>").domain) == 255
    with pytest.raises(PathError, match="domain too long"):
        path(b"<a@[x:" + b"y" * 252 + b"]>")


def test_utf8():
    text = "<jürgen@bücher.test>".encode()
    assert path(text, utf8=True).local == "jürgen".encode()
    assert path('<"ü ü"@ü>'.encode(), utf8=True).domain == "ü".encode()
    with pytest.raises(PathError, match="not valid UTF-8 at octet 2"):
        path(b"<a\xe4@b>", utf8=True)


def test_paths_are_made_by_parsing_only():
    with pytest.raises(TypeError):
        Path()


def test_lists_belong_to_the_caller():
    found = path(b"<@x:a@b>")
    found.route.append(b"y")
    found.params.append((b"X", None))
    assert (found.route, found.params) == ([b"x"], [])


@given(st.text("<>@\"\\.,:[] aA-_\t1é", max_size=20).map(str.encode))
def test_what_parses_is_what_it_says(text):
    """Whatever is taken: nothing of it is lost, no octet is in two places, and it parses again to the same."""
    try:
        found, rest = parse_path(text, allow_null=True)
    except PathError as error:
        assert 0 <= error.offset <= len(text)
        return
    assert text.lstrip(b" \t") == found.text + rest
    assert found.text[:1] + found.text[-1:] == b"<>"
    if not found.is_null:
        route = b",".join(b"@" + host for host in found.route)
        mailbox = found.local + (b"" if found.domain is None else b"@" + found.domain)
        assert found.text == b"<" + (route + b":" if route else b"") + mailbox + b">"
        assert b">" not in found.text[:-1] or b'"' in found.local or b"[" in found.text
    assert parse_path(found.text, allow_null=True) == (found, b"")


@pytest.mark.parametrize(("text", "params"), [
    (b"", []),
    (b"  \t", []),
    (b" SIZE=10", [(b"SIZE", b"10")]),
    (b"\tsize=10  Body=8BitMime ", [(b"SIZE", b"10"), (b"BODY", b"8BitMime")]),
    (b" SMTPUTF8", [(b"SMTPUTF8", None)]),
    (b" A-1=!~x A-1", [(b"A-1", b"!~x"), (b"A-1", None)]),
])
def test_params(text, params):
    assert parse_params(text) == params


@pytest.mark.parametrize(("text", "reason", "offset"), [
    (b"SIZE=10", "no blank", 0),
    (b" =10", "bad parameter name", 1),
    (b" -A", "bad parameter name", 1),
    (b" A_B", "bad parameter name", 2),
    (b" A=", "bad parameter value", 3),
    (b" A= B", "bad parameter value", 3),
    (b" A=b=c", "bad parameter value", 4),
    (b" A=\xe4", "bad parameter value", 3),
    (b" A\0", "bad parameter name", 2),
])
def test_no_params(text, reason, offset):
    with pytest.raises(PathError) as caught:
        parse_params(text)
    assert caught.value.reason.startswith(reason)
    assert caught.value.offset == offset
