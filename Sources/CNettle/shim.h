// Nettle's HMAC for Swift. No logic.
#ifndef SLUICE_CNETTLE_SHIM_H
#define SLUICE_CNETTLE_SHIM_H
#include <nettle/hmac.h>
#endif
