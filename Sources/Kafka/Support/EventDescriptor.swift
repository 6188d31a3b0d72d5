// Owns one eventfd: the single thing a poll thread sleeps on.

internal import CKafka
internal import Glibc

/// An eventfd. Anybody may signal it, librdkafka's threads included; one thread waits.
struct EventDescriptor: ~Copyable, Sendable {
    /// The descriptor, for `rd_kafka_queue_io_event_enable`. It must be non-blocking there (librdkafka#2932).
    let descriptor: Int32

    init() throws(KafkaError) {
        descriptor = sluice_eventfd()
        guard descriptor >= 0 else {
            throw KafkaError(
                .other, "cannot create an eventfd: \(String(cString: strerror(errno))); raise the limit of open files",
                isRetriable: true)
        }
    }

    deinit { close(descriptor) }

    /// Wakes the waiting thread. A full counter means that a wake-up is already there.
    func signal() { eventfd_write(descriptor, 1) }

    /// Sleeps until somebody signals or `milliseconds` have passed, and takes all signals that came.
    func wait(milliseconds: Int32) {
        var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&item, 1, milliseconds) > 0 else { return }
        var count: eventfd_t = 0
        eventfd_read(descriptor, &count)
    }
}
