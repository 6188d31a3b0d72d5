// librdkafka for Swift, and the two Linux calls its room needs that Swift's Glibc module leaves out. No logic.
#ifndef SLUICE_CKAFKA_SHIM_H
#define SLUICE_CKAFKA_SHIM_H
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

// prctl is variadic.
static inline int sluice_name_thread(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

// EFD_… arrive in Swift as an enum without operators.
static inline int sluice_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }
#endif
