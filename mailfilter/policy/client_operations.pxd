# The types of client_operations.py, which is compiled with them.

from mailfilter.policy.context cimport SessionContext
from mailfilter.policy.operation cimport Waiting

cpdef hop_of(SessionContext context, handle)
cpdef list response(reply)
cdef _reply_of(hop, Waiting waiting, form)
cdef _begun(SessionContext context, hop, headers, body)
cpdef exchange(SessionContext context, Waiting waiting, handle, verb, arguments)
cpdef command(SessionContext context, handle, verb, arguments)
cpdef envelope(SessionContext context, Waiting waiting, handle, verb, path, parameters)
cpdef close(SessionContext context, handle)
