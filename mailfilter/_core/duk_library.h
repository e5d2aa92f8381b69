/*
 * What of the JavaScript library is written in C: small steps that every command of every session takes, and that cost
 * several times as much in the byte code of the engine. Each does exactly what its description in js/ says; what is unusual
 * is left to the JavaScript beside it.
 *
 * The functions hold nothing: what they make belongs to the heap. Of Python's objects they only read the header section that
 * arrived (duk_host), and make none.
 * Must not know: sessions.
 */
#ifndef MAILFILTER_DUK_LIBRARY_H
#define MAILFILTER_DUK_LIBRARY_H

#include "arena.h"
#include "duk_value.h"

/* Put the functions into the object `host`, which is at the top of the stack. May throw. */
void library_begin(duk_context *ctx, arena *region);

#endif
