/* A message on its way out, in C; see duk_library.h. */
#include "duk_library.h"

#include <string.h>

enum { MOST_PARTS = 24 };           /* of a field that is written here */

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

/* Push the text of the header at `index`, if it is an ordinary one: a name without a colon, some parts, and
 * SmtpHeader.prototype.toString. 0 when it is not, and nothing is pushed then. */
static int push_text(duk_context *ctx, arena *region, int index) {
    int first = duk.get_top(ctx);
    size_t n, count = 0;
    void *to_text;
    duk.get_prop_heapptr(ctx, index, region->names[NAME_TO_STRING]);
    to_text = duk.get_heapptr(ctx, -1);
    duk.pop(ctx);
    if (!to_text || to_text != region->known[KNOWN_HEADER_TEXT]) return 0;
    duk.get_prop_heapptr(ctx, index, region->names[NAME_PARTS]);
    if (duk.is_array(ctx, -1)) count = duk.get_length(ctx, -1);
    duk.get_prop_heapptr(ctx, index, region->names[NAME_NAME]);
    if (count == 0 || count > MOST_PARTS || duk.get_type(ctx, -1) != DUK_TYPE_STRING || duk.is_symbol(ctx, -1)) goto other;
    const char *name = duk.get_lstring(ctx, -1, &n);
    if (memchr(name, ':', n)) goto other;
    for (size_t i = 0; i < count; i++) {
        duk.push_lstring(ctx, i ? "\r\n" : ": ", 2);
        duk.get_prop_index(ctx, first, (unsigned)i);
        if (duk.get_type(ctx, -1) != DUK_TYPE_STRING || duk.is_symbol(ctx, -1)) goto other;
    }
    duk.concat(ctx, (int)(1 + 2 * count));
    duk.remove(ctx, first);
    return 1;
other:
    duk.set_top(ctx, first);
    return 0;
}

/* host.outgoing(headers): host.outgoingHeaders, in js/header.js. What the headers are asked for may be a function of the policy:
 * it runs here, and may change the array. */
static duk_ret native_outgoing(duk_context *ctx) {
    enum { HEADERS, LIST, FIRST_FREE };
    arena *region = library_region(ctx);
    void **known = region->known, *to_text = known[KNOWN_HEADER_TEXT];
    if (!duk.is_array(ctx, HEADERS)) {
        duk.push_heapptr(ctx, known[KNOWN_OUTGOING]);
        duk.dup(ctx, HEADERS);
        duk.call(ctx, 1);
        return 1;
    }
    PyObject *arrived = ((duk_host *)region->host)->arrived;
    size_t fields = arrived ? (size_t)PyList_GET_SIZE(arrived) / 2 : 0;
    duk.require_stack(ctx, 2 * MOST_PARTS + 16);
    duk.push_array(ctx);
    for (size_t i = 0; i < duk.get_length(ctx, HEADERS); i++) {
        double place = -1;
        int is_object;
        duk.get_prop_index(ctx, HEADERS, (unsigned)i);
        int header = FIRST_FREE;
        is_object = duk.get_type(ctx, header) == DUK_TYPE_OBJECT;
        if (is_object) {
            duk.get_prop_heapptr(ctx, header, known[KNOWN_PLACE]);
            if (duk.get_type(ctx, -1) == DUK_TYPE_NUMBER) place = duk.get_number(ctx, -1);
            duk.pop(ctx);
        }
        if (place >= 0 && place < (double)fields && is_as_it_came(ctx, arrived, (size_t)place, region->names, to_text))
            duk.push_null(ctx);
        else if (!is_object || !push_text(ctx, region, header)) {
            duk.push_heapptr(ctx, known[KNOWN_WRITTEN]);
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

/* host.bodyReference(body): what an operation needs to know a body by: its handle, a text, or null for none. */
static duk_ret native_reference(duk_context *ctx) {
    int type = duk.get_type(ctx, 0);
    if (type == DUK_TYPE_NULL || type == DUK_TYPE_UNDEFINED) {
        duk.push_null(ctx);
        return 1;
    }
    duk.dup(ctx, 0);
    duk.get_prop_heapptr(ctx, -1, library_region(ctx)->known[KNOWN_BODY_HANDLE]);
    if (duk.get_type(ctx, -1) != DUK_TYPE_NUMBER) {
        duk.dup(ctx, 0);
        duk.to_lstring(ctx, -1, NULL);
    }
    return 1;
}

void headers_begin(duk_context *ctx) {
    library_add(ctx, "outgoing", native_outgoing, 1);
    library_add(ctx, "bodyReference", native_reference, 1);
}
