/*
 * The part of Duktape's C API that Mailfilter calls, as one table of function pointers.
 *
 * The engine is the one that the dukpy extension module carries and exports. It is bound once, at
 * import (duk_api_bind): the module that dukpy has already loaded is opened again by path and every
 * function below is looked up in it. Nothing is linked, nothing of Duktape is compiled here.
 *
 * The signatures are those of DUK_VERSION 29999 with its default configuration on x86-64 and arm64
 * Linux; duk_api_bind refuses any other version, which a running heap tells (Duktape.version).
 *
 * Must not know: Python, mail, sessions.
 */
#ifndef MAILFILTER_DUK_API_H
#define MAILFILTER_DUK_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct duk_hthread duk_context;
typedef int duk_ret;                      /* what a native function returns: number of results */
typedef duk_ret (*duk_function)(duk_context *ctx);
typedef duk_ret (*duk_protected)(duk_context *ctx, void *udata);
typedef void *(*duk_alloc_fn)(void *udata, size_t size);
typedef void *(*duk_realloc_fn)(void *udata, void *ptr, size_t size);
typedef void (*duk_free_fn)(void *udata, void *ptr);
typedef void (*duk_fatal_fn)(void *udata, const char *message);
typedef struct {
    duk_alloc_fn alloc;
    duk_realloc_fn realloc;
    duk_free_fn free;
    void *udata;
} duk_memory;

enum {
    DUK_VERSION_WANTED = 29999,
    DUK_TYPE_UNDEFINED = 1, DUK_TYPE_NULL, DUK_TYPE_BOOLEAN, DUK_TYPE_NUMBER, DUK_TYPE_STRING,
    DUK_TYPE_OBJECT, DUK_TYPE_BUFFER, DUK_TYPE_POINTER, DUK_TYPE_LIGHTFUNC,
    DUK_ENUM_OWN = 1 << 4,                /* own enumerable string keys */
    DUK_COMPILE_FILENAME_GIVEN = 1,       /* one argument on the stack: the file name */
    DUK_COMPILE_EVAL = 1 << 3, DUK_COMPILE_SAFE = 1 << 7, DUK_COMPILE_NOSOURCE = 1 << 9,
    DUK_UINT8ARRAY = 4,
    DUK_DEFPROP_HAVE_ALL = 0xF << 8,      /* a value and all three attributes, which are its lowest bits */
    DUK_GC_COMPACT = 1,                   /* objects give back room for properties that they do not have */
    DUK_ERROR_PLAIN = 1,
    DUK_ERROR_TYPE = 6,
    DUK_VARARGS = -1
};

/* name, result, arguments */
#define DUK_API(F) \
    F(create_heap, duk_context *, (duk_alloc_fn, duk_realloc_fn, duk_free_fn, void *, duk_fatal_fn)) \
    F(destroy_heap, void, (duk_context *)) \
    F(get_memory_functions, void, (duk_context *, duk_memory *)) \
    F(gc, void, (duk_context *, unsigned)) \
    F(safe_call, int, (duk_context *, duk_protected, void *, int, int)) \
    F(pcall, int, (duk_context *, int)) \
    F(call, void, (duk_context *, int)) \
    F(compile_raw, int, (duk_context *, const char *, size_t, unsigned)) \
    F(throw_raw, void, (duk_context *)) \
    F(push_error_object_raw, int, (duk_context *, int, const char *, int, const char *, ...)) \
    F(get_top, int, (duk_context *)) \
    F(set_top, void, (duk_context *, int)) \
    F(require_stack, void, (duk_context *, int)) \
    F(pop, void, (duk_context *)) \
    F(pop_n, void, (duk_context *, int)) \
    F(dup, void, (duk_context *, int)) \
    F(remove, void, (duk_context *, int)) \
    F(replace, void, (duk_context *, int)) \
    F(push_undefined, void, (duk_context *)) \
    F(push_null, void, (duk_context *)) \
    F(push_boolean, void, (duk_context *, unsigned)) \
    F(push_number, void, (duk_context *, double)) \
    F(push_lstring, const char *, (duk_context *, const char *, size_t)) \
    F(push_string, const char *, (duk_context *, const char *)) \
    F(push_object, int, (duk_context *)) \
    F(push_array, int, (duk_context *)) \
    F(push_buffer_raw, void *, (duk_context *, size_t, unsigned)) \
    F(push_buffer_object, void, (duk_context *, int, size_t, size_t, unsigned)) \
    F(push_c_function, int, (duk_context *, duk_function, int)) \
    F(push_global_object, void, (duk_context *)) \
    F(push_heap_stash, void, (duk_context *)) \
    F(push_this, void, (duk_context *)) \
    F(push_heapptr, int, (duk_context *, void *)) \
    F(get_heapptr, void *, (duk_context *, int)) \
    F(get_type, int, (duk_context *, int)) \
    F(is_symbol, unsigned, (duk_context *, int)) \
    F(is_array, unsigned, (duk_context *, int)) \
    F(is_function, unsigned, (duk_context *, int)) \
    F(is_buffer_data, unsigned, (duk_context *, int)) \
    F(get_error_code, int, (duk_context *, int)) \
    F(get_boolean, unsigned, (duk_context *, int)) \
    F(get_number, double, (duk_context *, int)) \
    F(to_int32, int, (duk_context *, int)) \
    F(to_boolean, unsigned, (duk_context *, int)) \
    F(to_lstring, const char *, (duk_context *, int, size_t *)) \
    F(get_int, int, (duk_context *, int)) \
    F(get_lstring, const char *, (duk_context *, int, size_t *)) \
    F(get_string, const char *, (duk_context *, int)) \
    F(get_buffer_data, void *, (duk_context *, int, size_t *)) \
    F(get_length, size_t, (duk_context *, int)) \
    F(safe_to_lstring, const char *, (duk_context *, int, size_t *)) \
    F(get_prop_string, unsigned, (duk_context *, int, const char *)) \
    F(get_prop_index, unsigned, (duk_context *, int, unsigned)) \
    F(get_prop_heapptr, unsigned, (duk_context *, int, void *)) \
    F(put_prop_heapptr, unsigned, (duk_context *, int, void *)) \
    F(put_prop, unsigned, (duk_context *, int)) \
    F(concat, void, (duk_context *, int)) \
    F(set_prototype, void, (duk_context *, int)) \
    F(new, void, (duk_context *, int)) \
    F(def_prop, void, (duk_context *, int, unsigned)) \
    F(get_global_string, unsigned, (duk_context *, const char *)) \
    F(put_prop_string, unsigned, (duk_context *, int, const char *)) \
    F(put_prop_lstring, unsigned, (duk_context *, int, const char *, size_t)) \
    F(put_prop_index, unsigned, (duk_context *, int, unsigned)) \
    F(put_global_string, unsigned, (duk_context *, const char *)) \
    F(del_prop_string, unsigned, (duk_context *, int, const char *)) \
    F(get_context, duk_context *, (duk_context *, int)) \
    F(inspect_callstack_entry, void, (duk_context *, int)) \
    F(enumerate, void, (duk_context *, int, unsigned)) \
    F(next, unsigned, (duk_context *, int, unsigned))

typedef struct {
#define DUK_FIELD(name, result, arguments) result (*name) arguments;
    DUK_API(DUK_FIELD)
#undef DUK_FIELD
} duk_api;

extern duk_api duk;

/* Fill the table from the shared object at `path`. Returns NULL, or what went wrong in words
 * (static or thread-local text, valid until the next call). */
const char *duk_api_bind(const char *path);

#endif
