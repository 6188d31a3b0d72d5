// Owns records that are handed to librdkafka together.

internal import CKafka
internal import Records

/// A few records on their way to the producer: the clock, the locks and the counters are asked once for all of them. Reused; one thread at a
/// time. Keys are copied; values are either all lent or all copied until the group is produced.
public struct ProducerGroup: ~Copyable {
    /// Most records of a group.
    public static let capacity = 128

    /// Records in it.
    public private(set) var count = 0
    /// Bytes of their keys and values.
    private(set) var bytes = 0
    private var keys = ByteBuffer(capacity: 4096)
    /// Values that were copied.
    private var values = ByteBuffer()
    private let memory = UnsafeMutablePointer<rd_kafka_message_t>.allocate(capacity: Self.capacity)

    /// An empty group.
    public init() { memory.initialize(repeating: rd_kafka_message_t(), count: Self.capacity) }

    deinit { memory.deallocate() }

    /// Adds a record; there must be room for it.
    /// - Parameters:
    ///   - key: chooses the partition.
    ///   - value: must stay until the group is produced.
    ///   - token: given back to the ``DeliveryHandler``; below 2^63.
    public mutating func append(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, token: UInt) {
        precondition(count < Self.capacity && token >> 63 == 0, "a group has \(Self.capacity) records, a token is below 2^63")
        let message = memory + count
        message.pointee.payload = UnsafeMutableRawPointer(mutating: value.baseAddress)
        message.pointee.len = value.count
        message.pointee.key_len = key.count
        message.pointee._private = UnsafeMutableRawPointer(bitPattern: token << 1)
        keys.append(key)
        bytes += key.count + value.count
        count += 1
    }

    /// Adds a record whose value goes before the group is produced; not behind one whose value is lent.
    public mutating func append(key: UnsafeRawBufferPointer, copying value: UnsafeRawBufferPointer, token: UInt) {
        append(key: key, value: value, token: token)
        values.append(value)
    }

    /// The messages, with the keys where they lie now. Valid until the group changes.
    mutating func messages() -> UnsafeMutableBufferPointer<rd_kafka_message_t> {
        var (key, value) = (0, 0)
        let areCopied = values.count > 0
        for index in 0..<count {
            memory[index].key = UnsafeMutableRawPointer(mutating: keys.base + key)
            key += memory[index].key_len
            guard areCopied else { continue }
            memory[index].payload = UnsafeMutableRawPointer(mutating: values.base + value)
            value += memory[index].len
        }
        return UnsafeMutableBufferPointer(start: memory, count: count)
    }

    mutating func removeAll() {
        keys.removeAll()
        values.removeAll()
        (count, bytes) = (0, 0)
    }
}
