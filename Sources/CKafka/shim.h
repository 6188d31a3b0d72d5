// librdkafka for Swift. No logic: only what Swift cannot call itself (C variadics) is wrapped here.
#ifndef SLUICE_CKAFKA_SHIM_H
#define SLUICE_CKAFKA_SHIM_H
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#endif
