// libcurl for Swift. No logic: only what Swift cannot call itself (C variadics) is wrapped here.
#ifndef SLUICE_CCURL_SHIM_H
#define SLUICE_CCURL_SHIM_H
#include <curl/curl.h>
#endif
