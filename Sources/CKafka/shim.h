// librdkafka for Swift, and the Linux calls that the Kafka module needs and Swift's Glibc module lacks. No logic.
#ifndef SLUICE_CKAFKA_SHIM_H
#define SLUICE_CKAFKA_SHIM_H
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <malloc.h>
#include <sys/eventfd.h>

// Swift's Glibc module lacks malloc.h.
static inline int sluice_map_from(int bytes) { return mallopt(M_MMAP_THRESHOLD, bytes); }

// EFD_… arrive in Swift as an enum without operators.
static inline int sluice_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

// rd_kafka_producev is variadic. librdkafka takes over the headers only where it succeeds.
static inline rd_kafka_resp_err_t sluice_produce_with_headers(
    rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition, const void *key, size_t key_size, const void *value,
    size_t value_size, rd_kafka_headers_t *headers, void *opaque) {
    return rd_kafka_producev(
        client, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(key, key_size), RD_KAFKA_V_VALUE((void *)value, value_size), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
}
#endif
