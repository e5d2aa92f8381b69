"""Counting by key in memory that several processes share: how many now (`add`, `take`), or how many lately (`note`).

A count-min sketch: every key has two cells, chosen by a keyed hash (SipHash-2-4), and the smaller of them counts. So it
needs the same memory for ten clients and for ten million, it never counts too little, and it counts too much only for
a key that meets busier ones in both of its cells, which without the secret nobody can bring about.

There are no locks: each process writes a part of its own, and the count is the sum over all parts. A process that
died is forgotten by clearing its part. Numbers of one machine word are read whole, if a moment late.

Must not know: what is counted, processes, clocks (the time comes as an argument).
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

cdef enum:
    ROWS = 2
    SLOTS = 16384                       # a power of two
    LABELS = 4096                       # octets before the cells: a page, for the periods that the halves are about
    HALF = ROWS * SLOTS * 4
    STRIDE = LABELS + 2 * HALF
    IN_USE = 1                          # instead of a period, where there is none: parts that were never used are not read

# Octets that one part takes; all zero to begin with. Whole pages.
PART_BYTES = STRIDE


cdef inline uint64_t rotated(uint64_t word, int bits) noexcept:
    return (word << bits) | (word >> (64 - bits))


cdef inline void sip_round(uint64_t* v) noexcept:
    v[0] += v[1]
    v[1] = rotated(v[1], 13) ^ v[0]
    v[0] = rotated(v[0], 32)
    v[2] += v[3]
    v[3] = rotated(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = rotated(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = rotated(v[1], 17) ^ v[2]
    v[2] = rotated(v[2], 32)


cdef uint64_t sip_hash(const unsigned char* text, Py_ssize_t length, uint64_t k0, uint64_t k1) noexcept:
    """SipHash-2-4 (Aumasson and Bernstein, 2012), on a machine whose low octet comes first."""
    cdef uint64_t v[4]
    cdef uint64_t word
    cdef Py_ssize_t at = 0
    v[0] = k0 ^ <uint64_t> 0x736F6D6570736575ULL
    v[1] = k1 ^ <uint64_t> 0x646F72616E646F6DULL
    v[2] = k0 ^ <uint64_t> 0x6C7967656E657261ULL
    v[3] = k1 ^ <uint64_t> 0x7465646279746573ULL
    while at + 8 <= length:
        memcpy(&word, text + at, 8)
        v[3] ^= word
        sip_round(v)
        sip_round(v)
        v[0] ^= word
        at += 8
    word = 0
    memcpy(&word, text + at, length - at)
    word |= (<uint64_t> length) << 56
    v[3] ^= word
    sip_round(v)
    sip_round(v)
    v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(4):
        sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@cython.final
cdef class Tally:
    """One table of counts; this object writes one part of it and reads all.

    memory: writable, shared by those that count together, zeroed, `parts` × PART_BYTES octets from `offset` on.
    part: the one that is ours alone to write. secret: 16 octets, the same for all, unknown to who is counted.
    """

    def __cinit__(self, memory, Py_ssize_t offset, int parts, int part, bytes secret not None):
        cdef Py_buffer view
        cdef const unsigned char* key
        if parts < 1 or not 0 <= part < parts or offset < 0 or offset % 8:
            raise ValueError("no such part")
        if len(secret) != 16:
            raise ValueError("the secret has 16 octets")
        PyObject_GetBuffer(memory, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        if view.len - offset < <Py_ssize_t> parts * STRIDE:
            PyBuffer_Release(&view)
            raise ValueError("the memory is too small")
        self._base = <unsigned char*> view.buf + offset
        PyBuffer_Release(&view)
        # A view of Python's own keeps the memory from being closed under us.
        self._memory = memoryview(memory)
        self.parts = parts
        self.part = part
        key = secret
        memcpy(&self._k0, key, 8)
        memcpy(&self._k1, key + 8, 8)

    def key(self, bytes text not None):
        """The key of a text: an int, to be handed to the other methods; equal in all processes of the table."""
        return sip_hash(text, len(text), self._k0, self._k1)

    def add(self, uint64_t key):
        """One more of `key`."""
        cdef uint32_t* cells = self._current(IN_USE)
        cdef uint32_t* first = cells + (key & (SLOTS - 1))
        cdef uint32_t* second = cells + SLOTS + (key >> 32 & (SLOTS - 1))
        if first[0] != <uint32_t> -1:
            first[0] += 1
        if second[0] != <uint32_t> -1:
            second[0] += 1

    def take(self, uint64_t key):
        """One less of `key`, which was added by this part."""
        cdef uint32_t* cells = self._current(IN_USE)
        cdef uint32_t* first = cells + (key & (SLOTS - 1))
        cdef uint32_t* second = cells + SLOTS + (key >> 32 & (SLOTS - 1))
        if first[0] > 0:
            first[0] -= 1
        if second[0] > 0:
            second[0] -= 1

    def count(self, uint64_t key):
        """How many of `key` there are now, in all parts; never too few."""
        return self._sum(key, IN_USE & 1, IN_USE)

    def note(self, uint64_t key, double now, double period):
        """`key` happened at `now` (seconds, never going back); `period` is over how many seconds is counted.

        A table is for notes of one period, or for add() and take(), not for both.
        """
        cdef uint32_t* cells = self._current(<uint64_t> (now / period) + 1)
        cdef uint32_t* first = cells + (key & (SLOTS - 1))
        cdef uint32_t* second = cells + SLOTS + (key >> 32 & (SLOTS - 1))
        if first[0] != <uint32_t> -1:
            first[0] += 1
        if second[0] != <uint32_t> -1:
            second[0] += 1

    def lately(self, uint64_t key, double now, double period):
        """How often `key` was noted in the last `period` seconds, in all parts: a float.

        What is exact is this period of the clock; of the one before it counts the share that is not yet a whole
        period ago, as if it had been spread evenly.
        """
        cdef uint64_t number = <uint64_t> (now / period) + 1
        cdef double passed = now / period - <double> (number - 1)
        return (<double> self._sum(key, number & 1, number)
                + <double> self._sum(key, (number - 1) & 1, number - 1) * (1.0 - passed))

    cdef uint64_t* _labels(self, int part) noexcept:
        return <uint64_t*> (self._base + <Py_ssize_t> part * STRIDE)

    cdef uint32_t* _cells(self, int part, int half) noexcept:
        return <uint32_t*> (self._base + <Py_ssize_t> part * STRIDE + LABELS + <Py_ssize_t> half * HALF)

    cdef uint64_t _sum(self, uint64_t key, int half, uint64_t label) noexcept:
        """The count of a key over all parts, of the halves that have this label."""
        cdef uint64_t first = 0, second = 0
        cdef uint32_t* cells
        cdef int part
        for part in range(self.parts):
            if self._labels(part)[half] == label:
                cells = self._cells(part, half)
                first += cells[key & (SLOTS - 1)]
                second += cells[SLOTS + (key >> 32 & (SLOTS - 1))]
        return min(first, second)

    cdef uint32_t* _current(self, uint64_t period) noexcept:
        """Our cells of this period, emptied when they were still about an older one."""
        cdef int half = period & 1
        cdef uint64_t* labels = self._labels(self.part)
        cdef uint32_t* cells = self._cells(self.part, half)
        if labels[half] != period:
            memset(cells, 0, HALF)
            labels[half] = period
        return cells
