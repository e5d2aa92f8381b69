# The types of operation.py, which is compiled with them.


cimport cython

cdef _called(run, given, context, waiting=*)


cdef class Operation:
    cdef readonly str name
    cdef readonly object run
    cdef readonly tuple arguments
    cdef readonly bint waits
    cdef readonly str deadline
    cdef readonly bint effects
    cdef readonly bint loading
    cdef readonly str failure

    @cython.locals(wanted=tuple, position=Py_ssize_t)
    cpdef check(self, given)
    cpdef perform(self, context, given)


cdef class Waiting:
    cdef readonly object loop
    cdef readonly str name
    cdef public object on_cancel
    cdef public object form
    cdef object _settled
    cdef object _timer
    cdef bint _starting
    cdef tuple _early

    cpdef start(self, Operation operation, context, arguments)
    cdef _settle(self, value, error)
    cpdef cancel(self)
