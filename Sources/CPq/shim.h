// libpq for Swift, and two Linux calls that Swift's Glibc module lacks. No logic.
#ifndef SLUICE_CPQ_SHIM_H
#define SLUICE_CPQ_SHIM_H
#include <libpq-fe.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

// prctl is variadic, which Swift cannot call.
static inline void sluice_name_this_thread(const char *name) { (void)prctl(PR_SET_NAME, name, 0, 0, 0); }
#endif
