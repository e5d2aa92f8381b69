/*
 * What of the JavaScript library is written in C: small steps that every command of every session takes, and that cost
 * several times as much in the byte code of the engine. Each does exactly what its description in js/ says; what is unusual
 * is left to the JavaScript beside it.
 *
 * The functions hold nothing: what they make belongs to the heap. Of Python's objects they read what the program gives for a
 * handler and the header section that arrived, and make the list that a handler's answer is (both in duk_host).
 * Must not know: sessions.
 */
#ifndef MAILFILTER_DUK_LIBRARY_H
#define MAILFILTER_DUK_LIBRARY_H

#include "arena.h"
#include "duk_value.h"

/* What the library has told of itself by host.know(name, value): indices of region->known. */
enum library_known {
    KNOWN_JOB,                  /* the array in which a handler and its arguments go to the coroutine */
    KNOWN_RESUME,               /* Duktape.Thread.resume */
    KNOWN_RECEIVED,             /* symbol: a response came from a next hop */
    KNOWN_PLACE,                /* symbol: the place of a header in the message that arrived */
    KNOWN_BODY_HANDLE,          /* symbol: the handle of a body */
    KNOWN_CONNECTION,           /* symbol: the handle of a client's connection */
    KNOWN_RESPONSE, KNOWN_PATH, KNOWN_HEADER, KNOWN_BODY,       /* constructors */
    KNOWN_PATH_PROTOTYPE, KNOWN_HEADER_PROTOTYPE,
    KNOWN_PATH_TEXT,            /* SmtpPath.prototype.toString */
    KNOWN_HEADER_TEXT,          /* SmtpHeader.prototype.toString */
    KNOWN_WRITTEN, KNOWN_OUTGOING,      /* functions of js/header.js for what is not of the ordinary kind */
    KNOWN
};

/* Texts of the heap: indices of region->names. */
enum library_name {
    NAME_CODE, NAME_MESSAGE, NAME_DISCONNECT, NAME_NAME, NAME_PARTS, NAME_TO_STRING, NAME_PROTOTYPE, NAME_LENGTH,
    NAME_LOCAL, NAME_DOMAIN, NAME_DOMAINS, NAME_MAILBOX, NAME_PARAMS, NAME_RESPONSE, NAME_PATH, NAME_HEADER,
    NAME_CLIENT_COMMAND, NAME_CLIENT_ENVELOPE,
    NAMES
};

/* The region of a heap. */
arena *library_region(duk_context *ctx);
/* Put a function into the object at the top of the stack. */
void library_add(duk_context *ctx, const char *name, duk_function function, int arguments);

/* Put the functions into the object `host`, which is at the top of the stack. May throw. */
void library_begin(duk_context *ctx, arena *region);

/* The same of duk_client.c and duk_headers.c. */
void client_begin(duk_context *ctx);
void headers_begin(duk_context *ctx);

/* Push the library's array for a handler: its name, and the arguments that the program gives for it (a tuple, the name first).
 * A path, and the headers and the body of a message, are made here where nobody has put other classes in the place of the
 * library's; the array says so in its last element. May throw. */
void library_job(duk_context *ctx, arena *region, PyObject *given);

#endif
