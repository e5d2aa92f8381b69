# Lines on their way to a next hop. The contract is in outgoing.pyx.

cdef bytes command_line(bytes verb, bytes args)
cdef bint is_base64(bytes line) noexcept
cdef bytes tightened(bytes line)
