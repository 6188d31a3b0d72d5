// Owns one eventfd, on which a poll thread sleeps.

internal import CKafka
internal import Glibc

/// An eventfd. Any thread may signal it, including librdkafka's; one thread waits.
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

    /// Wakes the waiting thread. A full counter means that a signal is pending already.
    func signal() { eventfd_write(descriptor, 1) }

    /// Sleeps until a signal or until `milliseconds` have passed, and clears all signals.
    func wait(milliseconds: Int32) {
        var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&item, 1, milliseconds) > 0 else { return }
        var count: eventfd_t = 0
        eventfd_read(descriptor, &count)
    }
}
