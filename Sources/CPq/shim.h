// libpq for Swift. No logic.
#ifndef SLUICE_CPQ_SHIM_H
#define SLUICE_CPQ_SHIM_H
#include <libpq-fe.h>
#endif
