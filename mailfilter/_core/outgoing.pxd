# Lines on their way to a next hop. The contract is in outgoing.pyx.

cdef bint is_one_line(bytes line) noexcept
cdef bint is_base64(bytes line) noexcept
cdef bytes tightened(bytes line)
