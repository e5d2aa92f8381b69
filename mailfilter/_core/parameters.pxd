# The parameters of MAIL and RCPT, and the attributes of XCLIENT and XFORWARD. The contract is in parameters.pyx.

from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span

# What the parameters of MAIL ask for.
cpdef enum:
    MAIL_8BIT = 1           # BODY=8BITMIME
    MAIL_BINARY = 2         # BODY=BINARYMIME
    MAIL_UTF8 = 4           # SMTPUTF8
    MAIL_PRDR = 8           # PRDR
    MAIL_REQUIRETLS = 16    # REQUIRETLS


cdef Reply sender_fault(list params, set announced, int* flags, Py_ssize_t* size_at)
cdef Reply recipient_fault(list params, set announced)
cdef object attributes_of(Span argument, frozenset known, bint numeric)
