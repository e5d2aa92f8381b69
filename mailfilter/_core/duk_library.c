/* Parts of the library in C; see duk_library.h. */
#include "duk_library.h"

#include <string.h>

enum { FIRST_KEPT = 100, FIRST_KNOWN = 200 };       /* indices in the heap's stash, behind the entry functions */
enum { JOB_NAME, JOB_FIRST, JOB_SECOND, JOB_THIRD, JOB_MADE };      /* elements of the array for a handler */
enum { READ_ONLY_SHOWN = 2 };       /* attributes of a property, as native_own has them */
enum { LEAST_CODE = 200, MOST_CODE = 599, MOST_LINES = 1000 };

static const char *const texts[NAMES] = {
    "code", "message", "disconnect", "name", "parts", "toString", "prototype", "length",
    "local", "domain", "domains", "mailbox", "params", "SmtpResponse", "SmtpPath", "SmtpHeader",
    "client.command", "client.envelope"
};
static const char *const known_names[KNOWN] = {
    "job", "resume", "received", "place", "bodyHandle", "connection", "SmtpResponse", "SmtpPath", "SmtpHeader", "SmtpBody",
    "SmtpPath.prototype", "SmtpHeader.prototype", "SmtpPath.prototype.toString", "SmtpHeader.prototype.toString",
    "written", "outgoing"
};
_Static_assert(NAMES <= sizeof ((arena *)0)->names / sizeof (void *), "a region has room for all names");
_Static_assert(KNOWN <= sizeof ((arena *)0)->known / sizeof (void *), "a region has room for what is known");

arena *library_region(duk_context *ctx) {
    duk_memory memory;
    duk.get_memory_functions(ctx, &memory);
    return memory.udata;
}

/* new SmtpResponse(code, message[, disconnect]): js/response.js. */
static duk_ret native_response(duk_context *ctx) {
    void **names = library_region(ctx)->names;
    if (duk.get_top(ctx) < 2) {
        duk.push_error_object_raw(ctx, DUK_ERROR_PLAIN, NULL, 0, "%s",
                                  "Invalid argument: new SmtpResponse(code, message[, disconnect])");
        duk.throw_raw(ctx);
    }
    duk.set_top(ctx, 3);
    double code = duk.to_int32(ctx, 0);
    int close = duk.get_type(ctx, 2) == DUK_TYPE_BOOLEAN && duk.get_boolean(ctx, 2);
    if (duk.get_type(ctx, 1) != DUK_TYPE_STRING && !duk.is_array(ctx, 1)) duk.to_lstring(ctx, 1, NULL);
    duk.push_this(ctx);
    if (duk.get_type(ctx, 3) != DUK_TYPE_OBJECT) {
        duk.push_error_object_raw(ctx, DUK_ERROR_TYPE, NULL, 0, "%s", "SmtpResponse is a constructor: use new");
        duk.throw_raw(ctx);
    }
    duk.push_number(ctx, code);
    duk.put_prop_heapptr(ctx, 3, names[NAME_CODE]);
    duk.dup(ctx, 1);
    duk.put_prop_heapptr(ctx, 3, names[NAME_MESSAGE]);
    duk.push_boolean(ctx, (unsigned)close);
    duk.put_prop_heapptr(ctx, 3, names[NAME_DISCONNECT]);
    return 0;
}

/* host.own(object, key, value, flags): an own property. flags: 1 writable, 2 enumerable, 4 configurable. */
static duk_ret native_own(duk_context *ctx) {
    unsigned flags = (unsigned)duk.get_int(ctx, 3) & 7;
    duk.pop(ctx);
    duk.def_prop(ctx, 0, DUK_DEFPROP_HAVE_ALL | flags);
    return 0;
}

/* host.answered(server, value): takes what a handler has returned, if it is an ordinary response: it is kept for the program,
 * which finds it when the coroutine yields next, and server.disconnect is set. Its code; undefined for any other value. */
static duk_ret native_answered(duk_context *ctx) {
    enum { SERVER, VALUE, CODE, MESSAGE, LINE };
    enum { LINES_BEGIN = 2 };               /* [code, disconnect, line, …] */
    arena *region = library_region(ctx);
    duk_host *host = region->host;
    void **names = region->names;
    size_t n, count = 1;
    int listed = 0;
    if (duk.get_type(ctx, VALUE) != DUK_TYPE_OBJECT) return 0;
    duk.get_prop_heapptr(ctx, VALUE, names[NAME_CODE]);
    if (duk.get_type(ctx, CODE) != DUK_TYPE_NUMBER) return 0;
    double code = duk.get_number(ctx, CODE);
    if (!(code >= LEAST_CODE && code <= MOST_CODE) || (int)code != code) return 0;
    duk.get_prop_heapptr(ctx, VALUE, names[NAME_MESSAGE]);
    if (duk.get_type(ctx, MESSAGE) != DUK_TYPE_STRING) {
        if (!duk.is_array(ctx, MESSAGE)) return 0;
        listed = 1;
        count = duk.get_length(ctx, MESSAGE);
        if (count == 0 || count > MOST_LINES) return 0;
    }
    PyObject *list = PyList_New((Py_ssize_t)(count + LINES_BEGIN));
    if (!list) {
        PyErr_Clear();
        return 0;
    }
    /* Anchored before anything below can throw; a place that is not filled is NULL, which the list bears until it goes. */
    Py_XSETREF(host->outcome, list);
    value_begin(host_frame(host), region->cap);
    for (size_t i = 0; i < count; i++) {
        if (listed) duk.get_prop_index(ctx, MESSAGE, (unsigned)i);
        else duk.dup(ctx, MESSAGE);
        if (duk.get_type(ctx, LINE) != DUK_TYPE_STRING || duk.is_symbol(ctx, LINE)) goto other;
        const char *text = duk.get_lstring(ctx, LINE, &n);
        if (memchr(text, '\n', n) || (count == 1 && n == 0)) goto other;
        PyObject *line = value_text(ctx, host, LINE);
        if (!line) goto other;
        PyList_SET_ITEM(list, (Py_ssize_t)(i + LINES_BEGIN), line);
        duk.pop(ctx);
    }
    duk.get_prop_heapptr(ctx, VALUE, names[NAME_DISCONNECT]);
    int close = (int)duk.to_boolean(ctx, -1);
    duk.put_prop_heapptr(ctx, SERVER, names[NAME_DISCONNECT]);
    PyList_SET_ITEM(list, 1, PyBool_FromLong(close));
    PyObject *number = PyLong_FromLong((long)code);
    if (!number) {
        PyErr_Clear();
        goto other;
    }
    PyList_SET_ITEM(list, 0, number);
    duk.push_number(ctx, code);
    return 1;
other:
    Py_CLEAR(host->outcome);
    return 0;
}

/* Push the prototype that `new` would give to what a constructor makes. */
static void push_prototype(duk_context *ctx, arena *region, void *constructor) {
    duk.push_heapptr(ctx, constructor);
    duk.get_prop_heapptr(ctx, -1, region->names[NAME_PROTOTYPE]);
    duk.remove(ctx, -2);
}

/* Whether the global of this name is still the library's constructor, and has its prototype (NULL: any). */
static int is_ours(duk_context *ctx, arena *region, int name, void *constructor, void *prototype) {
    if (!constructor) return 0;
    duk.push_global_object(ctx);
    duk.get_prop_heapptr(ctx, -1, region->names[name]);
    int ours = duk.get_heapptr(ctx, -1) == constructor;
    if (ours && prototype) {
        duk.get_prop_heapptr(ctx, -1, region->names[NAME_PROTOTYPE]);
        ours = duk.get_heapptr(ctx, -1) == prototype;
        duk.pop(ctx);
    }
    duk.pop_n(ctx, 2);
    return ours;
}

/* host.received(reply): a reply of a next hop, [code, lines, …], as a response. */
static duk_ret native_received(duk_context *ctx) {
    enum { REPLY, MADE };
    arena *region = library_region(ctx);
    void **names = region->names, **known = region->known;
    if (!is_ours(ctx, region, NAME_RESPONSE, known[KNOWN_RESPONSE], NULL)) {
        duk.push_global_object(ctx);
        duk.get_prop_heapptr(ctx, -1, names[NAME_RESPONSE]);
        duk.remove(ctx, MADE);
        duk.get_prop_index(ctx, REPLY, 0);
        duk.get_prop_index(ctx, REPLY, 1);
        duk.new(ctx, 2);
    } else {
        duk.push_object(ctx);
        push_prototype(ctx, region, known[KNOWN_RESPONSE]);
        if (duk.get_type(ctx, -1) == DUK_TYPE_OBJECT) duk.set_prototype(ctx, MADE);
        else duk.pop(ctx);
        duk.get_prop_index(ctx, REPLY, 0);
        duk.push_number(ctx, duk.to_int32(ctx, -1));
        duk.put_prop_heapptr(ctx, MADE, names[NAME_CODE]);
        duk.get_prop_index(ctx, REPLY, 1);
        if (duk.get_type(ctx, -1) != DUK_TYPE_STRING && !duk.is_array(ctx, -1)) duk.to_lstring(ctx, -1, NULL);
        duk.put_prop_heapptr(ctx, MADE, names[NAME_MESSAGE]);
        duk.push_boolean(ctx, 0);
        duk.put_prop_heapptr(ctx, MADE, names[NAME_DISCONNECT]);
        duk.set_top(ctx, MADE + 1);
    }
    duk.push_boolean(ctx, 1);
    duk.put_prop_heapptr(ctx, MADE, known[KNOWN_RECEIVED]);
    return 1;
}

/* host.know(name, value): see enum library_known. */
static duk_ret native_know(duk_context *ctx) {
    arena *region = library_region(ctx);
    const char *name = duk.get_string(ctx, 0);
    for (unsigned i = 0; name && i < KNOWN; i++)
        if (!strcmp(name, known_names[i])) {
            region->known[i] = duk.get_heapptr(ctx, 1);
            duk.push_heap_stash(ctx);
            duk.dup(ctx, 1);
            duk.put_prop_index(ctx, -2, FIRST_KNOWN + i);       /* as long as the heap lives */
        }
    return 0;
}

static Py_ssize_t length_of(PyObject *list) {
    return list && PyList_CheckExact(list) ? PyList_GET_SIZE(list) : -1;
}

/* Push the SmtpPath of [local, domain, route, [keyword, value, …]]: js/path.js. */
static void push_path(duk_context *ctx, arena *region, PyObject *given) {
    duk_host *host = region->host;
    void **names = region->names;
    PyObject *parameters = PyList_GET_ITEM(given, 3);
    int path = duk.push_object(ctx);
    duk.push_heapptr(ctx, region->known[KNOWN_PATH_PROTOTYPE]);
    duk.set_prototype(ctx, path);
    value_push(ctx, host, PyList_GET_ITEM(given, 2), 1);
    duk.put_prop_heapptr(ctx, path, names[NAME_DOMAINS]);
    int mailbox = duk.push_object(ctx);
    value_push(ctx, host, PyList_GET_ITEM(given, 0), 1);
    duk.put_prop_heapptr(ctx, mailbox, names[NAME_LOCAL]);
    value_push(ctx, host, PyList_GET_ITEM(given, 1), 1);
    duk.put_prop_heapptr(ctx, mailbox, names[NAME_DOMAIN]);
    duk.put_prop_heapptr(ctx, path, names[NAME_MAILBOX]);
    int object = duk.push_object(ctx);
    for (Py_ssize_t i = 0; i + 1 < PyList_GET_SIZE(parameters); i += 2) {
        value_push(ctx, host, PyList_GET_ITEM(parameters, i), 1);
        PyObject *value = PyList_GET_ITEM(parameters, i + 1);
        if (value == Py_None) duk.push_boolean(ctx, 1);
        else value_push(ctx, host, value, 1);
        duk.put_prop(ctx, object);
    }
    duk.put_prop_heapptr(ctx, path, names[NAME_PARAMS]);
}

/* Push the SmtpHeader array of [name, [part, …], …]: js/header.js. */
static void push_headers(duk_context *ctx, arena *region, PyObject *given) {
    duk_host *host = region->host;
    void **names = region->names, **known = region->known;
    int list = duk.push_array(ctx);
    for (Py_ssize_t i = 0; i + 1 < PyList_GET_SIZE(given); i += 2) {
        int header = duk.push_object(ctx);
        duk.push_heapptr(ctx, known[KNOWN_HEADER_PROTOTYPE]);
        duk.set_prototype(ctx, header);
        value_push(ctx, host, PyList_GET_ITEM(given, i), 1);
        duk.put_prop_heapptr(ctx, header, names[NAME_NAME]);
        value_push(ctx, host, PyList_GET_ITEM(given, i + 1), 1);
        duk.put_prop_heapptr(ctx, header, names[NAME_PARTS]);
        duk.push_number(ctx, (double)(i / 2));
        duk.put_prop_heapptr(ctx, header, known[KNOWN_PLACE]);
        duk.put_prop_index(ctx, list, (unsigned)(i / 2));
    }
}

/* Push the SmtpBody of a handle and a length: js/body.js. */
static void push_body(duk_context *ctx, arena *region, PyObject *handle, PyObject *length) {
    duk_host *host = region->host;
    int body = duk.push_object(ctx);
    push_prototype(ctx, region, region->known[KNOWN_BODY]);
    if (duk.get_type(ctx, -1) == DUK_TYPE_OBJECT) duk.set_prototype(ctx, body);
    else duk.pop(ctx);
    value_push(ctx, host, handle, 1);
    duk.put_prop_heapptr(ctx, body, region->known[KNOWN_BODY_HANDLE]);
    duk.push_heapptr(ctx, region->names[NAME_LENGTH]);
    value_push(ctx, host, length, 1);
    duk.def_prop(ctx, body, DUK_DEFPROP_HAVE_ALL | READ_ONLY_SHOWN);
}

static int is_called(PyObject *name, const char *wanted) {
    return PyUnicode_CheckExact(name) && PyUnicode_CompareWithASCIIString(name, wanted) == 0;
}

void library_job(duk_context *ctx, arena *region, PyObject *given) {
    void **known = region->known;
    Py_ssize_t n = PyTuple_GET_SIZE(given);
    PyObject *name = n ? PyTuple_GET_ITEM(given, 0) : Py_None, *first = n > 1 ? PyTuple_GET_ITEM(given, 1) : NULL;
    int path = is_called(name, "smtpMail") || is_called(name, "smtpRcpt"), message = !path && is_called(name, "smtpData"), made = 0;
    duk.push_heapptr(ctx, known[KNOWN_JOB]);
    int job = duk.get_top(ctx) - 1;
    value_push(ctx, region->host, name, 1);
    duk.put_prop_index(ctx, job, JOB_NAME);
    if (path && n == 2 && length_of(first) >= 4 && length_of(PyList_GET_ITEM(first, 3)) >= 0) {
        made = is_ours(ctx, region, NAME_PATH, known[KNOWN_PATH], known[KNOWN_PATH_PROTOTYPE]);
        if (made) {
            push_path(ctx, region, first);
            duk.put_prop_index(ctx, job, JOB_FIRST);
        }
    } else if (message && n == 4 && length_of(first) >= 0) {
        made = is_ours(ctx, region, NAME_HEADER, known[KNOWN_HEADER], known[KNOWN_HEADER_PROTOTYPE]);
        if (made) {
            push_headers(ctx, region, first);
            duk.put_prop_index(ctx, job, JOB_FIRST);
            push_body(ctx, region, PyTuple_GET_ITEM(given, 2), PyTuple_GET_ITEM(given, 3));
            duk.put_prop_index(ctx, job, JOB_SECOND);
        }
    }
    if (!made) {
        /* Every handler looks at its first argument; at others only those that are given some, or nothing but the first. */
        Py_ssize_t shown = n > JOB_SECOND || is_called(name, "smtpAuth") ? JOB_THIRD : JOB_FIRST;
        for (Py_ssize_t i = JOB_FIRST; i <= shown; i++) {
            if (i < n) value_push(ctx, region->host, PyTuple_GET_ITEM(given, i), 1);
            else duk.push_undefined(ctx);
            duk.put_prop_index(ctx, job, (unsigned)i);
        }
    }
    if (path || message) {
        duk.push_boolean(ctx, (unsigned)made);
        duk.put_prop_index(ctx, job, JOB_MADE);
    }
}

void library_add(duk_context *ctx, const char *name, duk_function function, int arguments) {
    duk.push_c_function(ctx, function, arguments);
    duk.put_prop_string(ctx, -2, name);
}

void library_begin(duk_context *ctx, arena *region) {
    duk.push_heap_stash(ctx);
    for (unsigned i = 0; i < NAMES; i++) {
        duk.push_string(ctx, texts[i]);
        region->names[i] = duk.get_heapptr(ctx, -1);
        duk.put_prop_index(ctx, -2, FIRST_KEPT + i);        /* as long as the heap lives */
    }
    duk.pop(ctx);
    library_add(ctx, "SmtpResponse", native_response, DUK_VARARGS);
    library_add(ctx, "own", native_own, 4);
    library_add(ctx, "answered", native_answered, 2);
    library_add(ctx, "received", native_received, 1);
    library_add(ctx, "know", native_know, 2);
    client_begin(ctx);
    headers_begin(ctx);
}
