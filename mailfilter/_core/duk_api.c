/* Finds Duktape's functions in the shared object of dukpy; see duk_api.h. */
#include "duk_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

duk_api duk;

/* Two names differ from Duktape's own because C has other plans with them. */
static const char *exported_name(const char *name) {
    static char text[64];
    if (!strcmp(name, "enumerate")) return "duk_enum";
    snprintf(text, sizeof text, "duk_%s", name);
    return text;
}

const char *duk_api_bind(const char *path) {
    static char problem[256];
    /* RTLD_NOLOAD: only a second handle on what the interpreter has loaded already. Never closed. */
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (!library) {
        snprintf(problem, sizeof problem, "dukpy's extension module is not loaded: %.180s", dlerror());
        return problem;
    }
#define DUK_FIND(name, result, arguments) \
    *(void **)&duk.name = dlsym(library, exported_name(#name)); \
    if (!duk.name) { \
        snprintf(problem, sizeof problem, "dukpy's extension module does not export %s", exported_name(#name)); \
        return problem; \
    }
    DUK_API(DUK_FIND)
#undef DUK_FIND
    /* The version can only be asked of a heap. */
    duk_context *ctx = duk.create_heap(NULL, NULL, NULL, NULL, NULL);
    if (!ctx) return "no memory for a first JavaScript heap";
    int version = 0;
    duk.get_global_string(ctx, "Duktape");
    duk.get_prop_string(ctx, -1, "version");
    version = (int)duk.get_number(ctx, -1);
    duk.destroy_heap(ctx);
    if (version != DUK_VERSION_WANTED) {
        snprintf(problem, sizeof problem, "dukpy carries Duktape %d; version %d is needed", version, DUK_VERSION_WANTED);
        return problem;
    }
    return NULL;
}
