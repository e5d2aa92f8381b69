"""Operations of AuthResults: reading Authentication-Results that stand in messages.

The grammar is that of mail/auth_results.py.

Must not know: headers, what a policy makes of a result.
"""
from mailfilter.mail import auth_results as grammar

__all__ = ["claims", "read"]


def read(context, text):
    """[authserv-id or null, version, problem or null, where the results begin, [[method, version, result, reason, comment,
    [name, value, …]], …]]."""
    found = grammar.read(text)
    rows = []
    for one in found.results:
        flat = []
        for name, value in one.properties:
            flat += (name, value)
        rows.append([one.method, one.method_version, one.result, one.reason, one.comment, flat])
    return [found.authserv_id, found.version, found.problem, found.offset, rows]


def claims(context, text, authserv_id):
    """Whether the value may be taken for one of `authserv_id`."""
    return grammar.claims(text, authserv_id)
