/* Tells Cython code at compile time which build this is: MAILFILTER_DEBUG=1 comes from setup.py when the
   environment has MAILFILTER_BUILD=debug. As a constant of C, so that a release build compiles the checks away. */
#ifndef MAILFILTER_DEBUG_H
#define MAILFILTER_DEBUG_H
#ifdef MAILFILTER_DEBUG
#define MAILFILTER_DEBUGGING 1
#else
#define MAILFILTER_DEBUGGING 0
#endif
#endif
