/* What SmtpClient does for every command, in C; see duk_library.h. */
#include "duk_library.h"
#include "duk_step.h"

#include <string.h>

enum { SHORT_TEXT = 512 };          /* octets of a path that is put together here */

/* Push the handle of a client's connection. */
static void push_handle(duk_context *ctx, arena *region, int client) {
    duk.dup(ctx, client);
    duk.get_prop_heapptr(ctx, -1, region->known[KNOWN_CONNECTION]);
    duk.remove(ctx, -2);
    if (duk.get_type(ctx, -1) == DUK_TYPE_UNDEFINED) {
        duk.push_error_object_raw(ctx, DUK_ERROR_PLAIN, NULL, 0, "%s",
                                  "Transport endpoint is not connected: call connect() first");
        duk.throw_raw(ctx);
    }
}

/* Make the value at `index` a text, unless it is one. */
static void to_text(duk_context *ctx, int index) {
    if (duk.get_type(ctx, index) != DUK_TYPE_STRING || duk.is_symbol(ctx, index)) duk.to_lstring(ctx, index, NULL);
}

/* SmtpClient.prototype.sendCommand(verb, args): js/client.js. */
static duk_ret native_send_command(duk_context *ctx) {
    enum { VERB, ARGUMENTS, THIS, OPERATION, HANDLE };
    arena *region = library_region(ctx);
    duk.push_this(ctx);
    duk.push_heapptr(ctx, region->names[NAME_CLIENT_COMMAND]);
    push_handle(ctx, region, THIS);
    to_text(ctx, VERB);
    if (duk.get_type(ctx, ARGUMENTS) == DUK_TYPE_UNDEFINED) {
        duk.push_null(ctx);
        duk.replace(ctx, ARGUMENTS);
    } else if (duk.get_type(ctx, ARGUMENTS) != DUK_TYPE_NULL) to_text(ctx, ARGUMENTS);
    duk.dup(ctx, VERB);
    duk.dup(ctx, ARGUMENTS);
    for (int i = OPERATION; i > 0; i--) duk.remove(ctx, 0);
    step_now(ctx);
    return 0;
}

/* Push the text of the SmtpPath at `index`. One with a source route, or that is no text where it should be, is asked itself. */
static void push_path_text(duk_context *ctx, arena *region, int index) {
    void **names = region->names;
    char text[SHORT_TEXT];
    size_t at = 0, n;
    int top = duk.get_top(ctx), plain = duk.get_type(ctx, index) == DUK_TYPE_OBJECT;
    if (plain) {
        duk.get_prop_heapptr(ctx, index, names[NAME_TO_STRING]);
        plain = duk.get_heapptr(ctx, -1) == region->known[KNOWN_PATH_TEXT];
    }
    if (plain) {
        duk.get_prop_heapptr(ctx, index, names[NAME_DOMAINS]);
        plain = duk.is_array(ctx, -1) && duk.get_length(ctx, -1) == 0;
    }
    if (plain) {
        duk.get_prop_heapptr(ctx, index, names[NAME_MAILBOX]);
        plain = duk.get_type(ctx, -1) == DUK_TYPE_OBJECT;
    }
    if (plain) {
        int mailbox = duk.get_top(ctx) - 1;
        text[at++] = '<';
        for (int part = NAME_LOCAL; part <= NAME_DOMAIN && plain; part++) {
            duk.get_prop_heapptr(ctx, mailbox, names[part]);
            int type = duk.get_type(ctx, -1);
            if (type == DUK_TYPE_NULL || type == DUK_TYPE_UNDEFINED) continue;
            plain = type == DUK_TYPE_STRING && !duk.is_symbol(ctx, -1);
            if (!plain) break;
            const char *piece = duk.get_lstring(ctx, -1, &n);
            plain = at + n + 2 <= sizeof text;
            if (!plain) break;
            if (part == NAME_DOMAIN) text[at++] = '@';
            memcpy(text + at, piece, n);
            at += n;
        }
    }
    duk.set_top(ctx, top);
    if (plain && at < sizeof text) {
        text[at++] = '>';
        duk.push_lstring(ctx, text, at);
    } else {
        duk.dup(ctx, index);
        duk.to_lstring(ctx, -1, NULL);
    }
}

/* host.envelope(client, verb, path): the request of client.mail() and client.rcpt(), in js/client_steps.js. */
static duk_ret native_envelope(duk_context *ctx) {
    enum { CLIENT, VERB, PATH, PARAMETERS, GIVEN, KEYS, KEY, VALUE };
    arena *region = library_region(ctx);
    unsigned count = 0;
    duk.get_prop_heapptr(ctx, PATH, region->names[NAME_PARAMS]);
    duk.push_array(ctx);
    if (duk.get_type(ctx, PARAMETERS) == DUK_TYPE_OBJECT) {
        duk.enumerate(ctx, PARAMETERS, DUK_ENUM_OWN);
        while (duk.next(ctx, KEYS, 1)) {
            int type = duk.get_type(ctx, VALUE);
            if (type == DUK_TYPE_BOOLEAN && duk.get_boolean(ctx, VALUE)) {
                duk.push_null(ctx);
                duk.replace(ctx, VALUE);
            } else if (type == DUK_TYPE_UNDEFINED || type == DUK_TYPE_NULL || type == DUK_TYPE_BOOLEAN) {
                duk.set_top(ctx, KEY);
                continue;
            } else to_text(ctx, VALUE);
            duk.put_prop_index(ctx, GIVEN, count + 1);
            duk.put_prop_index(ctx, GIVEN, count);
            count += 2;
        }
    }
    duk.set_top(ctx, KEYS);
    int request = duk.push_array(ctx);
    duk.push_heapptr(ctx, region->names[NAME_CLIENT_ENVELOPE]);
    duk.put_prop_index(ctx, request, 0);
    push_handle(ctx, region, CLIENT);
    duk.put_prop_index(ctx, request, 1);
    duk.dup(ctx, VERB);
    duk.put_prop_index(ctx, request, 2);
    push_path_text(ctx, region, PATH);
    duk.put_prop_index(ctx, request, 3);
    duk.dup(ctx, GIVEN);
    duk.put_prop_index(ctx, request, 4);
    return 1;
}

void client_begin(duk_context *ctx) {
    library_add(ctx, "sendCommand", native_send_command, 2);
    library_add(ctx, "envelope", native_envelope, 3);
}
