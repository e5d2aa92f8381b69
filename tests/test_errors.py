"""The exceptions: what their texts look like to the person who reads them."""
import pytest

from mailfilter import errors


@pytest.mark.parametrize("place, text", [
    ({}, "broken"),
    ({"file": "p.js"}, "p.js: broken"),
    ({"file": "p.js", "line": 3}, "p.js:3: broken"),
    ({"file": "p.js", "line": 3, "column": 7}, "p.js:3:7: broken"),
    ({"file": "p.js", "column": 7}, "p.js: broken"),
])
def test_a_policy_error_names_its_place(place, text):
    assert str(errors.PolicyError("broken", **place)) == text


@pytest.mark.parametrize("source, column, excerpt", [
    (None, 3, ""),
    ("var x = ;\r\n", 9, "    var x = ;\n            ^"),
    ("\tvar x = ;", 10, "    \tvar x = ;\n    \t        ^"),
    ("var x", 6, "    var x\n         ^"),
    ("var x", 7, "    var x"),
    ("var x", 0, "    var x"),
    ("var x", None, "    var x"),
])
def test_the_caret_stands_under_the_column(source, column, excerpt):
    assert errors.PolicyError("broken", "p.js", 1, column, source).excerpt() == excerpt


def test_everything_raised_on_purpose_has_one_base():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.MailfilterError)
    for name in ("ServiceTimeout", "ServiceUnavailable", "ServiceProtocolError"):
        assert issubclass(getattr(errors, name), errors.ServiceError)
