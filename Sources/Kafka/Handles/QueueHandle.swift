// Owns an `rd_kafka_queue_t`, and the messages and events that come out of one.

internal import CKafka
internal import Glibc
internal import Records

/// A reference to one of librdkafka's queues.
struct QueueHandle: ~Copyable {
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    deinit { rd_kafka_queue_destroy(pointer) }

    /// Makes librdkafka write to `descriptor` when the queue becomes non-empty: once, until the queue is read again.
    func enableWakeUp(_ descriptor: Int32) {
        var one: UInt64 = 1
        rd_kafka_queue_io_event_enable(pointer, descriptor, &one, MemoryLayout<UInt64>.size)
    }

    /// Ends that, so that the descriptor may be closed while librdkafka keeps the queue.
    func disableWakeUp() { rd_kafka_queue_io_event_enable(pointer, -1, nil, 0) }

    /// Number of records and other operations in the queue, including stale ones.
    var length: Int { Int(rd_kafka_queue_length(pointer)) }

    /// Takes one message; waits up to `milliseconds`.
    @inline(__always)
    func takeMessage(milliseconds: Int32 = 0) -> MessageHandle? {
        guard let message = rd_kafka_consume_queue(pointer, milliseconds) else { return nil }
        return MessageHandle(owning: message)
    }

    /// Takes one event; waits up to `milliseconds`.
    func takeEvent(milliseconds: Int32) -> EventHandle? {
        guard let event = rd_kafka_queue_poll(pointer, milliseconds) else { return nil }
        return EventHandle(owning: event)
    }
}

/// One message in librdkafka's memory. It keeps the whole fetch response it came with: copy it and release it.
struct MessageHandle: ~Copyable {
    private let pointer: UnsafeMutablePointer<rd_kafka_message_t>

    @inline(__always)
    init(owning pointer: UnsafeMutablePointer<rd_kafka_message_t>) { self.pointer = pointer }

    @inline(__always)
    deinit { rd_kafka_message_destroy(pointer) }

    /// The error that this message stands for, or `RD_KAFKA_RESP_ERR_NO_ERROR` for a record.
    var error: rd_kafka_resp_err_t { pointer.pointee.err }

    /// librdkafka's text for ``error``.
    var errorText: String { rd_kafka_message_errstr(pointer).map { String(cString: $0) } ?? "" }

    var offset: Int64 { pointer.pointee.offset }

    /// Milliseconds since 1970; −1 where there is none.
    @inline(__always)
    var timestamp: Int64 { rd_kafka_message_timestamp(pointer, nil) }

    /// The key; `nil` for none. Valid as long as the message lives, as are the value and the headers.
    @inline(__always)
    var key: UnsafeRawBufferPointer? {
        pointer.pointee.key.map { UnsafeRawBufferPointer(start: $0, count: pointer.pointee.key_len) }
    }

    /// The payload; `nil` for a tombstone.
    @inline(__always)
    var value: UnsafeRawBufferPointer? {
        pointer.pointee.payload.map { UnsafeRawBufferPointer(start: $0, count: pointer.pointee.len) }
    }

    /// Calls `body` with each header in order; false where the record has none.
    func forEachHeader(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) -> Void) -> Bool {
        var headers: OpaquePointer?
        guard rd_kafka_message_headers(pointer, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR, let headers else { return false }
        var index = 0
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var size = 0
        while rd_kafka_header_get_all(headers, index, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR {
            if let name {
                body(
                    UnsafeRawBufferPointer(start: name, count: strlen(name)),
                    value.map { UnsafeRawBufferPointer(start: $0, count: size) })
            }
            index += 1
        }
        return index > 0
    }

    /// Appends a copy of the record to a batch.
    /// - Parameter headers: scratch memory.
    @inline(__always)
    func copy(to batch: RecordBatch, headers: inout ByteBuffer) {
        headers.removeAll()
        let hasHeaders = forEachHeader { name, value in RecordHeaders.append(name: name, value: value, to: &headers) }
        batch.append(offset: offset, timestamp: timestamp, key: key, value: value, headers: hasHeaders ? headers.bytes : nil)
    }
}

/// One event of a queue.
struct EventHandle: ~Copyable {
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    deinit { rd_kafka_event_destroy(pointer) }

    /// One of the `RD_KAFKA_EVENT_…` numbers.
    var type: Int32 { rd_kafka_event_type(pointer) }

    var error: rd_kafka_resp_err_t { rd_kafka_event_error(pointer) }

    /// Calls `body` with a statistics report.
    func withStatistics(_ body: (UnsafeBufferPointer<UInt8>) -> Void) {
        guard let json = rd_kafka_event_stats(pointer) else { return }
        let count = strlen(json)
        json.withMemoryRebound(to: UInt8.self, capacity: count) { body(UnsafeBufferPointer(start: $0, count: count)) }
    }

    /// The error as a ``KafkaError``; `nil` where there is none.
    var failure: KafkaError? {
        guard error != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        return KafkaError(error, rd_kafka_event_error_string(pointer).map { String(cString: $0) })
    }
}
