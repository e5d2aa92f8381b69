# The service extensions of one session. The contract is in extensions.pyx.

from mailfilter._core.limits cimport Limits


cdef class Extensions:
    cdef readonly set announced
    cdef readonly frozenset mechanisms
    cdef readonly long long size_limit


cdef Extensions extensions_none(Limits limits)
cdef Extensions extensions_of(list lines, list told, Limits limits, frozenset offered, bint tls, bint clear_auth)
