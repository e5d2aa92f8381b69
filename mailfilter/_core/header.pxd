# Header fields: collecting the section, taking it apart, writing fields. The contract is in header.pyx.

from mailfilter._core.buffer cimport WriteBuffer
from mailfilter._core.span cimport Span


cdef class Field:
    cdef bytes _section
    cdef Py_ssize_t _start
    cdef Py_ssize_t _end
    cdef Py_ssize_t _name_len
    cdef Py_ssize_t _value_at


cdef class HeaderCollector:
    cdef WriteBuffer _section
    cdef Py_ssize_t _most_bytes
    cdef Py_ssize_t _most_fields
    cdef Py_ssize_t _column
    cdef Py_ssize_t _seen
    cdef bint _dotted
    cdef bint _plain
    cdef bint _cr_first
    cdef readonly Py_ssize_t fields
    cdef readonly bint complete

    cdef Py_ssize_t scan(self, Span run) except -1
    cdef int _keep(self, const char* ptr, Py_ssize_t length) except -1
    cdef void _begin_line(self, char first) noexcept
    cdef bint inside_line(self) noexcept
    cdef bint oversized(self) noexcept
    cdef bint overcrowded(self) noexcept
    cdef bytes section(self)


cpdef list split_header(bytes section)
