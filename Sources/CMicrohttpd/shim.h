// libmicrohttpd for Swift. No logic: only what Swift cannot call itself (C variadics) is wrapped here.
#ifndef SLUICE_CMICROHTTPD_SHIM_H
#define SLUICE_CMICROHTTPD_SHIM_H
#include <microhttpd.h>
#endif
