"""One JavaScript heap: load programs, call the library's entry functions, answer host.now(); and images of heaps.

A heap lives in a region of its own (arena.h) and shares nothing with any other. It is used by one thread.
What is waiting, for whom and how long is the driver's business; here a call goes in and a value, or a
ScriptError, comes out.

Must not know: mail, sessions, uvloop, which operations exist.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memset

from mailfilter._core cimport duktape as c

cdef extern from *:
    """
    #ifndef MAILFILTER_ABI_STAMP
    #define MAILFILTER_ABI_STAMP "none"
    #endif
    """
    const char *MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes>MAILFILTER_ABI_STAMP).decode()

DEFAULT_HEAP_BYTES = 8 << 20
# The engine's own objects take 122 KiB. Running out of memory while it makes them, outside any protected call, is
# an endless recursion in it (seen), so less is not tried.
LEAST_HEAP_BYTES = 160 << 10
DEFAULT_SLICE_MS = 50           # CPU milliseconds of one entry into JavaScript
DEFAULT_LOAD_MS = 5000          # and of loading a program


cdef extern from *:
    """
    #include <time.h>
    static inline unsigned long long now_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (unsigned long long)t.tv_sec * 1000000000ULL + (unsigned long long)t.tv_nsec;
    }
    """
    unsigned long long now_ns() nogil


class Undefined:
    """The type of UNDEFINED, which becomes JavaScript's undefined (None becomes null)."""

    __slots__ = ()

    def __repr__(self):
        return "UNDEFINED"

    def __reduce__(self):
        return "UNDEFINED"


UNDEFINED = Undefined()
Py_INCREF(UNDEFINED)                # the C side keeps a reference for the life of the process
c.value_undefined = <PyObject *>UNDEFINED


class ScriptError(Exception):
    """JavaScript threw. Attributes, each None where JavaScript gave none:

    name, message: of the error object; of any other thrown value, message is its text.
    file, line: where the error object was made.
    stack: the engine's traceback text.
    """

    def __init__(self, name, message, file, line, stack):
        super().__init__(f"{name}: {message}" if name else str(message))
        self.name, self.message, self.file, self.line, self.stack = name, message, file, line, stack


class HeapDead(Exception):
    """The heap cannot be used any more: the engine failed beyond an exception, or it was closed."""


class HeapStopped(HeapDead):
    """The watchdog stopped JavaScript that used up its time, or in which the engine itself failed; the heap is dead.

    places: [(file, line), …] of where it was, innermost first, as far as known. native: whether a function of the engine
    was running there (a regular expression), and not JavaScript itself. The attributes of a ScriptError are
    there, too, so that both are reported alike.
    """

    def __init__(self, message, places, native=False):
        super().__init__(message)
        self.places = places
        self.native = native
        self.name, self.message = "Stopped", message
        self.file, self.line = places[0] if places else (None, None)
        self.stack = "".join(f"    at ? ({file}:{line})\n" for file, line in places)


class HostError(Exception):
    """Raised by the answer callable: thrown into JavaScript as an Error with this class name and message."""

    def __init__(self, message, name="Error"):
        super().__init__(message)
        self.name = name


cdef bint bound = False


def bind(path):
    """Find the engine's functions in dukpy's extension module at `path` (str); ImportError when wrong."""
    global bound
    cdef bytes encoded = path.encode()
    cdef const char *problem = c.duk_api_bind(encoded)
    bound = problem == NULL
    if not bound:
        raise ImportError((<bytes>problem).decode("utf-8", "replace"))


def regions():
    """(regions in use, regions pooled): for leak checks."""
    return c.arena_in_use(), c.arena_pooled()


cdef long sleeping = 0


cdef long images_alive = 0


def heaps():
    """(heaps of this process, those of them that sleep)."""
    return c.arena_in_use(), sleeping


def images():
    """How many images there are in this process."""
    return images_alive


cdef int _answer(void *owner, PyObject *arguments, PyObject **result) noexcept:
    """Serve host.now: one Python call; nothing gets out but a result or (class name, message)."""
    cdef Heap heap = <Heap>owner
    cdef object value
    cdef int failed = 0
    try:
        if heap.answer is None:
            raise HostError("operations are not available here")
        value = heap.answer(*<tuple>arguments)
    except HostError as error:
        value = (error.name, str(error))
        failed = -1
    except Exception as error:          # our bug: the policy gets an error, the log gets the rest
        value = ("InternalError", f"{type(error).__name__}: {error}")
        failed = -1
    except BaseException as error:      # KeyboardInterrupt and its like are not for the policy: see _leave
        heap.interruption = error
        value = ("InternalError", "interrupted")
        failed = -1
    Py_INCREF(value)
    result[0] = <PyObject *>value
    return failed


c.step_host = _answer


cdef class Heap:
    """A heap capped at `heap_bytes`. `answer(name, *arguments)` serves the library's host.now().

    build: None, or 0, 1, 2 for the three builds of an image, which lie at fixed addresses; OSError when the
    address is taken.
    """

    def __cinit__(self):
        memset(&self.host, 0, sizeof(self.host))
        memset(&self.kept, 0, sizeof(self.kept))
        self.host.owner = <void *>self
        self.slice_ms = DEFAULT_SLICE_MS

    def __init__(self, size_t heap_bytes=DEFAULT_HEAP_BYTES, answer=None, build=None):
        if self.region != NULL:
            raise RuntimeError("a heap is made once")
        if not bound:
            raise RuntimeError("the JavaScript engine is not there yet: import mailfilter.policy.engine first")
        if heap_bytes < LEAST_HEAP_BYTES:
            raise MemoryError(f"a JavaScript heap does not fit into {heap_bytes} bytes")
        self.answer = answer
        if build is None:
            self.region = c.arena_open(heap_bytes)
            if self.region == NULL:
                raise MemoryError("no address space for a JavaScript heap")
        else:
            self.region = c.image_region(heap_bytes, build)
            if self.region == NULL:
                raise OSError("the address for building an image is taken")
            self.fixed = True
        if c.step_create(self.region, &self.host) != 0:
            raise MemoryError(f"a JavaScript heap does not fit into {heap_bytes} bytes")

    def __dealloc__(self):
        self.running = False
        self.close()

    cpdef close(self):
        """Forget the heap; its region is recycled. Harmless when closed. Not while JavaScript runs."""
        global sleeping
        if self.running:
            raise RuntimeError("a heap cannot be closed from inside itself")
        if self.region != NULL:
            c.duk_host_leave(&self.host)
            if self.asleep:
                self.asleep = False
                sleeping -= 1
                c.image_forget(&self.origin.im, self.region, &self.kept)
            elif self.fixed:
                c.image_region_close(self.region)
            else:
                c.arena_close(self.region)
            self.region = NULL
            self.arrived(None)
            self.answer = None      # it may lead back to who holds this heap

    def sleep(self):
        """Give the pages of an idle heap back to the system and keep only what differs from its image.

        The next load or call wakes it. False when it cannot sleep (no image, closed, running, no memory).
        """
        global sleeping
        if self.origin is None or self.region == NULL or self.running or self.asleep or self.region.context == NULL:
            return False
        if c.image_hibernate(&self.origin.im, self.region, &self.kept) != 0:
            return False
        self.asleep = True
        sleeping += 1
        return True

    cpdef wake(self):
        """Put a sleeping heap together again."""
        global sleeping
        if self.asleep:
            c.image_wake(&self.origin.im, self.region, &self.kept)
            self.asleep = False
            sleeping -= 1
            self.region.host = &self.host

    @property
    def kept_bytes(self):
        """What a sleeping heap keeps, in bytes; 0 when awake."""
        return self.kept.bytes if self.asleep else 0

    @property
    def spent_ms(self):
        """Milliseconds of CPU, about, spent in this heap so far, loading included for a heap that was not copied."""
        return self.spent_ns / 1e6

    @property
    def used_bytes(self):
        """Bytes of the region in use (high-water mark), 0 when closed or asleep."""
        return self.region.top if self.region != NULL and not self.asleep else 0

    @property
    def limit_bytes(self):
        """The cap of the heap, 0 when closed or asleep."""
        return self.region.cap if self.region != NULL and not self.asleep else 0

    @property
    def free_bytes(self):
        """Bytes of used_bytes that are free again."""
        return c.arena_free_bytes(self.region) if self.region != NULL and not self.asleep else 0

    @property
    def over_limit(self):
        """Whether an allocation was ever refused because the heap's cap was reached."""
        return self.region != NULL and not self.asleep and self.region.denied != 0

    @property
    def dead(self):
        return self.region == NULL or (not self.asleep and self.region.context == NULL)

    cdef int _enter(self) except -1:
        if self.asleep:
            self.wake()
        if self.region == NULL or self.region.context == NULL:
            raise HeapDead("the JavaScript heap is closed")
        if self.running:
            raise RuntimeError("JavaScript is running in this heap already")
        self.running = True
        return 0

    cdef int _spend(self, unsigned long long took_ns) noexcept:
        # The clock of the thread costs a system call, the clock of the day counts what others do meanwhile: the watchdog's
        # ticks tell how much of it can have been ours.
        cdef unsigned long long most_ns = <unsigned long long>c.watch_most_ms() * 1000000
        self.spent_ns += min(took_ns, most_ns)
        return 0

    cdef object _leave(self, int status, PyObject *result, unsigned budget_ms):
        cdef object value = None
        cdef const c.watch_report *report
        self.running = False
        if result != NULL:
            value = <object>result
            Py_XDECREF(result)
        if self.interruption is not None:
            interruption, self.interruption = self.interruption, None
            raise interruption
        if status == c.STEP_OK:
            return value
        if status == c.STEP_STOPPED:
            report = c.watch_last()
            places = [((<bytes>report.places[i].file).decode("utf-8", "replace"), report.places[i].line)
                      for i in range(report.count)]
            raise HeapStopped("the JavaScript engine failed (it touched memory that is not there)" if report.crashed
                              else f"stopped after {budget_ms} ms of CPU", places, report.native != 0)
        if status == c.STEP_DEAD:
            raise HeapDead("the JavaScript heap is dead" + (": memory limit reached" if self.over_limit else ""))
        if type(value) is not tuple:
            raise ScriptError("Error", "unknown (no memory to describe it)", None, None, None)
        raise ScriptError(*value[:5])

    def load(self, str name, bytes source, unsigned budget_ms=DEFAULT_LOAD_MS):
        """Run `source` (UTF-8) as a program; `name` is what tracebacks call it. ScriptError when it throws,
        HeapStopped when it takes more than budget_ms of CPU."""
        cdef PyObject *result = NULL
        cdef bytes encoded = name.encode()
        cdef int status
        cdef unsigned long long begun
        self._enter()
        begun = now_ns()
        status = c.step_load(self.region, encoded, PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source), budget_ms,
                             &result)
        self._spend(now_ns() - begun)
        return self._leave(status, result, budget_ms)

    def call(self, int entry, *arguments):
        """enter() with the arguments one by one."""
        return self.enter(entry, arguments)

    cpdef object enter(self, int entry, tuple arguments):
        """Call the library's entry function number `entry`; its result as a Python value. ScriptError when it throws,
        HeapStopped when it takes more than allow() says."""
        cdef PyObject *result = NULL
        cdef int status
        cdef unsigned long long begun
        self._enter()
        begun = now_ns()
        status = c.step_call(self.region, entry, <PyObject *>arguments, self.slice_ms, &result)
        self._spend(now_ns() - begun)
        return self._leave(status, result, self.slice_ms)

    def collect(self):
        """Run the garbage collector, and with it the finalizers that a policy may have set: a heap whose finalizers take
        more than DEFAULT_LOAD_MS of CPU is dead afterwards."""
        if self.asleep:
            self.wake()
        if not self.dead and not self.running:
            self.running = True
            c.step_collect(self.region, DEFAULT_LOAD_MS)
            self.running = False

    cpdef arrived(self, list headers):
        """The header section of the message that handlers are asked about now, [name, [part, …], …] of bytes as it is given
        to smtpData; None when there is none any more. What of it leaves unchanged is not written anew. Not to be changed
        meanwhile."""
        if self.running:
            raise RuntimeError("JavaScript is running in this heap")
        if headers is not None and len(headers) % 2:
            raise ValueError("names and parts come in pairs")
        self.headers = headers
        self.host.arrived = <PyObject *>headers if headers is not None else NULL

    def allow(self, unsigned slice_ms):
        """Let one call take at most `slice_ms` milliseconds of CPU (default DEFAULT_SLICE_MS)."""
        self.slice_ms = max(slice_ms, 1)

    def answer_with(self, answer):
        """Let `answer(name, *arguments)` serve host.now() from now on; None: nothing is answered."""
        self.answer = answer


class NoImage(Exception):
    """Builds of a heap that are not alike: no image can be made of them. offset: where, in bytes, or 0."""

    def __init__(self, reason, offset=0):
        super().__init__(reason)
        self.offset = offset


VERDICTS = {
    c.IMAGE_NO_MEMORY: "no memory for it",
    c.IMAGE_SIZES_DIFFER: "building it again used another amount of memory",
    c.IMAGE_VALUES_DIFFER: "building it again gave other values",
    c.IMAGE_RANDOM_NOT_FOUND: "the engine's random state was not found",
    c.IMAGE_NOT_MOVABLE: "its blocks cannot be moved together",
    c.IMAGE_COPY_DIFFERS: "a copy is not what was built in its place",
}


cdef class Image:
    """A heap with library and policy in it, ready to be copied.

    builds: three heaps (build=0, 1, 2) into which the same programs were loaded. They are closed. NoImage when they
    are not alike.
    """

    def __cinit__(self):
        memset(&self.im, 0, sizeof(self.im))

    def __init__(self, builds):
        cdef Heap first, second, third
        cdef int verdict
        first, second, third = builds
        for heap in builds:
            if not (<Heap>heap).fixed or heap.dead:
                raise ValueError("an image is made of three living builds")
            heap.collect()
            if heap.dead:
                raise HeapDead("the heap died while its garbage was collected")
        verdict = c.image_make(&self.im, first.region, second.region, third.region)
        for heap in builds:
            heap.close()
        if verdict != c.IMAGE_GOOD:
            raise NoImage(VERDICTS[verdict], self.im.at)
        self._count()

    def __dealloc__(self):
        global images_alive
        c.image_free(&self.im)
        if self.counted:
            images_alive -= 1

    cdef int _count(self) noexcept:
        global images_alive
        self.counted = True
        images_alive += 1
        return 0

    def pack(self):
        """The image in one piece, bytes, for unpack() in a process that was forked from the same parent."""
        cdef bytes packed = PyBytes_FromStringAndSize(NULL, c.image_packed_bytes(&self.im))
        c.image_pack(&self.im, PyBytes_AS_STRING(packed))
        return packed

    @staticmethod
    def unpack(const unsigned char[::1] memory not None):
        """The image that pack() put into this memory, which is kept and must not change: a map of a file, with whatever may
        follow behind the image. ValueError when there is none."""
        cdef Image image = Image.__new__(Image)
        if c.image_unpack(&image.im, &memory[0] if memory.shape[0] else NULL, memory.shape[0]) != 0:
            raise ValueError("this memory holds no image")
        image.memory = memory
        image._count()
        return image

    def heap(self, answer=None):
        """A new heap, a copy of the image with random state of its own."""
        cdef Heap heap = Heap.__new__(Heap)
        heap.region = c.image_copy(&self.im)
        if heap.region == NULL:
            raise MemoryError("no address space for a JavaScript heap")
        heap.region.host = &heap.host
        heap.origin = self
        heap.answer = answer
        return heap

    @property
    def image_bytes(self):
        """Bytes that a copy takes before it runs."""
        return self.im.used

    @property
    def relocations(self):
        """Pointers that are moved in every copy."""
        return self.im.relocated

