# The forms of AUTH. The contract is in auth.pyx.

from mailfilter._core.reply cimport Reply
from mailfilter._core.span cimport Span


cdef Reply auth_fault(Span argument, frozenset mechanisms)
cdef Reply auth_line_fault(Span line)
cdef bytes auth_challenge(object lines)
