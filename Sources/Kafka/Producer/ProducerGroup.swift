// Owns records that are produced together.

internal import CKafka
internal import Records

/// Records that are produced with one call, so that clock, locks and counters are used once for all of them. Reused; one thread
/// at a time. Keys are copied; of a group either all values are copied or none.
public struct ProducerGroup: ~Copyable {
    /// Maximum number of records.
    public static let capacity = 128

    /// Number of records.
    public private(set) var count = 0
    /// The headers of each record; none after the group was produced.
    public var headers: [ProducerHeader] = []
    /// Bytes of their keys and values.
    private(set) var bytes = 0
    private var keys = ByteBuffer(capacity: 4096)
    /// The copied values.
    private var values = ByteBuffer()
    private let memory = UnsafeMutablePointer<rd_kafka_message_t>.allocate(capacity: Self.capacity)

    /// An empty group.
    public init() { memory.initialize(repeating: rd_kafka_message_t(), count: Self.capacity) }

    deinit { memory.deallocate() }

    /// Appends a record; the group must not be full.
    /// - Parameters:
    ///   - key: determines the partition; `nil`: no key, any partition.
    ///   - value: must stay valid until the group is produced.
    ///   - token: passed to the ``DeliveryHandler``; below 2^63.
    public mutating func append(key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer, token: UInt) {
        precondition(count < Self.capacity && token >> 63 == 0, "a group has \(Self.capacity) records, a token is below 2^63")
        let message = memory + count
        message.pointee.payload = UnsafeMutableRawPointer(mutating: value.baseAddress)
        message.pointee.len = value.count
        // The address is set in `messages()`.
        message.pointee.key = key.map { UnsafeMutableRawPointer(mutating: $0.baseAddress ?? keys.base) }
        message.pointee.key_len = key?.count ?? 0
        message.pointee._private = UnsafeMutableRawPointer(bitPattern: token << 1)
        if let key { keys.append(key) }
        bytes += message.pointee.key_len + value.count
        count += 1
    }

    /// Appends a record with a copy of its value; all values of the group must be copied then.
    public mutating func append(key: UnsafeRawBufferPointer?, copying value: UnsafeRawBufferPointer, token: UInt) {
        append(key: key, value: value, token: token)
        values.append(value)
    }

    /// The messages, with the addresses of the keys and copied values. Valid until the group changes.
    mutating func messages() -> UnsafeMutableBufferPointer<rd_kafka_message_t> {
        var (key, value) = (0, 0)
        let areCopied = values.count > 0
        for index in 0..<count {
            if memory[index].key != nil {
                memory[index].key = UnsafeMutableRawPointer(mutating: keys.base + key)
                key += memory[index].key_len
            }
            guard areCopied else { continue }
            memory[index].payload = UnsafeMutableRawPointer(mutating: values.base + value)
            value += memory[index].len
        }
        return UnsafeMutableBufferPointer(start: memory, count: count)
    }

    mutating func removeAll() {
        keys.removeAll()
        values.removeAll()
        (count, bytes, headers) = (0, 0, [])
    }
}
