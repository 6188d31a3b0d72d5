// libpq for Swift, and eventfd, which Swift's Glibc module lacks. No logic.
#ifndef SLUICE_CPQ_SHIM_H
#define SLUICE_CPQ_SHIM_H
#include <libpq-fe.h>
#include <sys/eventfd.h>
#endif
