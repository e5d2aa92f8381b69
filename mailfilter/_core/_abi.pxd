# The stamp that setup.py compiles into every module of the core: a hash of all .pxd files, the build kind
# and the Python version. Each module repeats it as its attribute `_abi_stamp`:
#
#     from mailfilter._core._abi cimport ABI_STAMP
#     _abi_stamp = ABI_STAMP.decode()
#
# and mailfilter/_core/__init__.py refuses modules whose stamp is not that of the last build.
cdef extern from *:
    """
    #ifndef MAILFILTER_ABI_STAMP
    #error "build with setup.py, which defines MAILFILTER_ABI_STAMP"
    #endif
    static const char *const mailfilter_abi_stamp = MAILFILTER_ABI_STAMP;
    """
    const char *ABI_STAMP "mailfilter_abi_stamp"
