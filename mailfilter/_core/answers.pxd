# What a session says by itself. The contract is in answers.pyx.

from mailfilter._core.reply cimport Reply

cdef dict DEFAULT_REPLIES
cdef Reply R_EMPTY
cdef Reply R_NUL
cdef Reply R_LINE_TOO_LONG
cdef Reply R_BARE_CR
cdef Reply R_BARE_LF
cdef Reply R_SEQUENCE
cdef Reply R_ARGUMENT_MISSING
cdef Reply R_ARGUMENT_UNEXPECTED
cdef Reply R_TOO_MANY_RECIPIENTS
cdef Reply R_TOO_MANY_ERRORS
cdef Reply R_SIZE
cdef Reply R_BAD_CHUNK
cdef Reply R_BINARY_BY_DATA
cdef Reply R_EARLY_DATA
cdef Reply R_TLS_ACTIVE
cdef Reply R_AUTH_DONE
cdef Reply R_AUTH_NEEDS_TLS
cdef Reply R_AUTH_LINE_TOO_LONG
