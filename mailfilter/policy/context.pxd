# The types of context.py, which is compiled with them.


cdef class SessionContext:
    cdef public object loop
    cdef public object log
    cdef public str session_id
    cdef public object settings
    cdef public str hostname
    cdef public object timeouts
    cdef object _limits
    cdef readonly long long most_operations
    cdef readonly double most_ms
    cdef public object resolver
    cdef public list extensions
    cdef public object user
    cdef public object open_next_hop
    cdef public object make_tls
    cdef public object pool
    cdef public object outside
    cdef public dict held
    cdef public object tarpit_places
    cdef public object limits_changed
    cdef public double tarpit
    cdef public bint early
    cdef public dict pauses
    cdef public dict next_hops
    cdef public object last_hop
    cdef public object message
    cdef public object message_handle
    cdef public object varying
    cdef public dict groups
    cdef public long long operations
    cdef public object tls
    cdef public bint delivered
    cdef public object challenge
    cdef public object identity
    cdef public object replies

    cdef _keep_to(self, limits)
    cpdef charge(self, name)
    cpdef handler_starts(self)
    cpdef handler_failed(self)
    cpdef transaction_over(self)
    cdef _drop_groups(self)
    cpdef close(self)
