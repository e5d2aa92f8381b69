"""The helper that every parser test uses: one input whole, byte by byte, cut in two anywhere, and with bytes behind.

A parser is given as `consume(chunks)`: it feeds the chunks to a fresh parser and returns (result, unused), where
`unused` is what the parser has left alone of the input.
"""


def cuts(data):
    """The ways in which `data` may arrive: whole, bytewise, and (if it is short) in two pieces, cut anywhere."""
    yield [data]
    yield [data[i:i + 1] for i in range(len(data))]
    if len(data) <= 200:
        for i in range(1, len(data)):
            yield [data[:i], data[i:]]


def three_ways(consume, data, trailing=b"MORE\r\n.\r\n"):
    """What the parser makes of `data`, after seeing that it is the same in every way it may arrive.

    trailing: bytes behind, which the parser must leave alone; None if it takes all that it is given.
    """
    expected, unused = consume([data])
    assert unused == b"", f"whole: {unused!r} left over of {data!r}"
    for chunks in cuts(data):
        result, unused = consume(chunks)
        assert (result, unused) == (expected, b""), f"{data!r} in chunks {[len(chunk) for chunk in chunks]}"
    if trailing is not None:
        for chunks in cuts(data + trailing):
            result, unused = consume(chunks)
            assert (result, unused) == (expected, trailing), f"{data!r} with bytes behind"
    return expected


def growing(consume, data):
    """See that no beginning of `data` gives a result (None is "needs more"), and return what all of it gives."""
    for end in range(len(data)):
        result, _unused = consume([data[:end]])
        assert result is None, f"{data[:end]!r} should need more, not give {result!r}"
    result, _unused = consume([data])
    return result
