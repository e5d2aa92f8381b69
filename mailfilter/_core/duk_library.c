/* Parts of the library in C; see duk_library.h. */
#include "duk_library.h"

#include <string.h>

enum { NAME_CODE, NAME_MESSAGE, NAME_DISCONNECT, NAME_NAME, NAME_PARTS, NAME_TO_STRING, NAMES };
enum { FIRST_KEPT = 100 };          /* index in the heap's stash, behind the entry functions */
enum { LEAST_CODE = 200, MOST_CODE = 599, MOST_LINES = 1000 };

static const char *const texts[NAMES] = {"code", "message", "disconnect", "name", "parts", "toString"};

static arena *region_of(duk_context *ctx) {
    duk_memory memory;
    duk.get_memory_functions(ctx, &memory);
    return memory.udata;
}

/* new SmtpResponse(code, message[, disconnect]): js/response.js. */
static duk_ret native_response(duk_context *ctx) {
    void **names = region_of(ctx)->names;
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

/* Append the text at `index` to the array at `to` as element `at`; 0 when it is more than one line, or no text. */
static int add_line(duk_context *ctx, int index, int to, unsigned at) {
    size_t n;
    if (duk.get_type(ctx, index) != DUK_TYPE_STRING) return 0;
    const char *text = duk.get_lstring(ctx, index, &n);
    if (memchr(text, '\n', n)) return 0;
    duk.dup(ctx, index);
    duk.put_prop_index(ctx, to, at);
    return 1;
}

/* host.plainResponse(value): what host.takeResponse makes of an ordinary response, [code, disconnect, line, …]; undefined
 * for any other value, which that function looks at. */
static duk_ret native_plain_response(duk_context *ctx) {
    void **names = region_of(ctx)->names;
    size_t n;
    if (duk.get_type(ctx, 0) != DUK_TYPE_OBJECT) return 0;
    duk.get_prop_heapptr(ctx, 0, names[NAME_CODE]);         /* 1 */
    if (duk.get_type(ctx, 1) != DUK_TYPE_NUMBER) return 0;
    double code = duk.get_number(ctx, 1);
    if (!(code >= LEAST_CODE && code <= MOST_CODE) || (int)code != code) return 0;
    duk.get_prop_heapptr(ctx, 0, names[NAME_MESSAGE]);      /* 2 */
    duk.push_array(ctx);                                    /* 3 */
    duk.dup(ctx, 1);
    duk.put_prop_index(ctx, 3, 0);
    if (duk.get_type(ctx, 2) == DUK_TYPE_STRING) {
        duk.get_lstring(ctx, 2, &n);
        if (n == 0 || !add_line(ctx, 2, 3, 2)) return 0;
    } else {
        if (!duk.is_array(ctx, 2)) return 0;
        size_t count = duk.get_length(ctx, 2);
        if (count == 0 || count > MOST_LINES) return 0;
        for (unsigned i = 0; i < count; i++) {
            duk.get_prop_index(ctx, 2, i);                  /* 4 */
            if (!add_line(ctx, 4, 3, i + 2)) return 0;
            duk.get_lstring(ctx, 4, &n);
            if (count == 1 && n == 0) return 0;
            duk.pop(ctx);
        }
    }
    duk.get_prop_heapptr(ctx, 0, names[NAME_DISCONNECT]);
    duk.push_boolean(ctx, duk.to_boolean(ctx, -1));
    duk.put_prop_index(ctx, 3, 1);
    duk.set_top(ctx, 4);
    return 1;
}

/* host.own(object, key, value, flags): an own property. flags: 1 writable, 2 enumerable, 4 configurable. */
static duk_ret native_own(duk_context *ctx) {
    unsigned flags = (unsigned)duk.get_int(ctx, 3) & 7;
    duk.pop(ctx);
    duk.def_prop(ctx, 0, DUK_DEFPROP_HAVE_ALL | flags);
    return 0;
}

/* Whether the text at `index` has these octets. Octets that are no UTF-8 stand for themselves in no text: not equal, then. */
static int is_text(duk_context *ctx, int index, PyObject *octets) {
    size_t n;
    if (duk.get_type(ctx, index) != DUK_TYPE_STRING || !PyBytes_CheckExact(octets)) return 0;
    const char *text = duk.get_lstring(ctx, index, &n);
    return n == (size_t)PyBytes_GET_SIZE(octets) && memcmp(text, PyBytes_AS_STRING(octets), n) == 0;
}

/* Whether the header at the top of the stack says what the field at `place` said when it arrived. The stack may be higher
 * afterwards. */
static int is_as_it_came(duk_context *ctx, PyObject *arrived, size_t place, void **names, void *to_text) {
    int header = duk.get_top(ctx) - 1;
    PyObject *name = PyList_GET_ITEM(arrived, 2 * place), *parts = PyList_GET_ITEM(arrived, 2 * place + 1);
    if (!PyList_CheckExact(parts)) return 0;
    duk.get_prop_heapptr(ctx, header, names[NAME_TO_STRING]);
    if (duk.get_heapptr(ctx, -1) != to_text) return 0;
    duk.get_prop_heapptr(ctx, header, names[NAME_NAME]);
    if (!is_text(ctx, -1, name) || PyBytes_GET_SIZE(name) == 0) return 0;
    duk.get_prop_heapptr(ctx, header, names[NAME_PARTS]);
    int list = duk.get_top(ctx) - 1;
    if (!duk.is_array(ctx, list) || duk.get_length(ctx, list) != (size_t)PyList_GET_SIZE(parts)) return 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(parts); i++) {
        duk.get_prop_index(ctx, list, (unsigned)i);
        if (!is_text(ctx, -1, PyList_GET_ITEM(parts, i))) return 0;
        duk.pop(ctx);
    }
    return 1;
}

/* outgoing(headers, PLACE, toString, written): host.outgoingHeaders of an array, in js/header.js. What the headers are asked for may be a
 * function of the policy: it runs here, and may change the array. */
static duk_ret native_outgoing(duk_context *ctx) {
    enum { HEADERS, PLACE, TO_TEXT, WRITTEN, LIST, FIRST_FREE };
    arena *region = region_of(ctx);
    PyObject *arrived = ((duk_host *)region->host)->arrived;
    size_t fields = arrived ? (size_t)PyList_GET_SIZE(arrived) / 2 : 0;
    void *place_key = duk.get_heapptr(ctx, PLACE), *to_text = duk.get_heapptr(ctx, TO_TEXT);
    duk.push_array(ctx);
    for (size_t i = 0; i < duk.get_length(ctx, HEADERS); i++) {
        double place = -1;
        duk.get_prop_index(ctx, HEADERS, (unsigned)i);
        int header = FIRST_FREE;
        if (duk.get_type(ctx, header) == DUK_TYPE_OBJECT) {
            duk.get_prop_heapptr(ctx, header, place_key);
            if (duk.get_type(ctx, -1) == DUK_TYPE_NUMBER) place = duk.get_number(ctx, -1);
            duk.pop(ctx);
        }
        if (place >= 0 && place < (double)fields && is_as_it_came(ctx, arrived, (size_t)place, region->names, to_text))
            duk.push_null(ctx);
        else {
            duk.dup(ctx, WRITTEN);
            duk.dup(ctx, header);
            duk.push_number(ctx, (double)i);
            duk.call(ctx, 2);
        }
        duk.put_prop_index(ctx, LIST, (unsigned)(2 * i + 1));
        duk.push_number(ctx, place);
        duk.put_prop_index(ctx, LIST, (unsigned)(2 * i));
        duk.set_top(ctx, FIRST_FREE);
    }
    return 1;
}

static void add(duk_context *ctx, const char *name, duk_function function, int arguments) {
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
    add(ctx, "SmtpResponse", native_response, DUK_VARARGS);
    add(ctx, "plainResponse", native_plain_response, 1);
    add(ctx, "own", native_own, 4);
    add(ctx, "outgoing", native_outgoing, 4);
}
