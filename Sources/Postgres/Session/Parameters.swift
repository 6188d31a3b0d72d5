// Owns the binary parameters of one statement.

import Records

/// Parameters of a statement, in order, all in PostgreSQL's binary form.
///
/// Arrays are referenced, other values are copied. The memory can be used again: ``removeAll()``.
public final class Parameters: @unchecked Sendable {
    // Licence for @unchecked: filled by one task and read by the connection's thread in one `perform`, for which that task waits before
    // it changes the parameters again.

    private enum Source {
        case null
        case own(offset: Int, length: Int)
        case foreign(UnsafeRawPointer, length: Int)
    }

    private var sources: [Source] = []
    private var own = ByteBuffer(capacity: 256)
    private var pointers: [UnsafePointer<CChar>?] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []
    /// The parameters' types (`pg_type.oid`); 0 lets the server infer one.
    public private(set) var types: [UInt32] = []

    /// No parameters yet.
    public init() {}

    /// Number of parameters.
    public var count: Int { sources.count }

    /// Bytes of all values.
    var bytes: Int {
        sources.reduce(0) { sum, source in
            switch source {
            case .null: sum
            case .own(_, let length), .foreign(_, let length): sum + length
            }
        }
    }

    /// Forgets the parameters and keeps the memory.
    public func removeAll() {
        sources.removeAll(keepingCapacity: true)
        types.removeAll(keepingCapacity: true)
        own.removeAll()
    }

    /// Appends an array without copying it: it must stay alive and unchanged until the statement has been executed.
    /// - Parameter type: the array's type; 0 lets the server infer it from the statement.
    public func append(array: inout BinaryArray, type: UInt32 = 0) {
        // ByteBuffer's memory is on the heap and moves only when it grows, so the address outlives the closure.
        let (address, length) = array.withBytes { ($0.baseAddress, $0.count) }
        guard let address else { preconditionFailure("a binary array has a header at least") }
        add(.foreign(address, length: length), type)
    }

    /// Appends an int8.
    public func append(int8 value: Int64) { append(integer: value, type: TypeOID.int8) }

    /// Appends an int4.
    public func append(int4 value: Int32) { append(integer: value, type: TypeOID.int4) }

    /// Appends a bool.
    public func append(bool value: Bool) { append(integer: UInt8(value ? 1 : 0), type: TypeOID.bool) }

    /// Appends a text.
    public func append(text value: String) {
        var value = value
        value.withUTF8 { append(UnsafeRawBufferPointer($0), type: TypeOID.text) }
    }

    /// Appends a bytea.
    public func append(bytes value: [UInt8]) { value.withUnsafeBytes { append($0, type: TypeOID.bytea) } }

    /// Appends a copy of a value that is in the binary form of `type` already.
    public func append(_ value: UnsafeRawBufferPointer, type: UInt32) {
        let offset = own.count
        own.append(value)
        add(.own(offset: offset, length: value.count), type)
    }

    /// Appends NULL.
    public func appendNull(type: UInt32 = 0) { add(.null, type) }

    private func append<T: FixedWidthInteger>(integer value: T, type: UInt32) {
        let offset = own.count
        own.append(bigEndian: value)
        add(.own(offset: offset, length: MemoryLayout<T>.size), type)
    }

    private func add(_ source: Source, _ type: UInt32) {
        sources.append(source)
        types.append(type)
    }

    /// Calls `body` with libpq's arguments: count, types, values, lengths, formats. Valid during the call.
    func withArguments<R>(
        _ body: (
            Int32, UnsafePointer<UInt32>?, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?
        ) -> R
    ) -> R {
        pointers.removeAll(keepingCapacity: true)
        lengths.removeAll(keepingCapacity: true)
        formats.removeAll(keepingCapacity: true)
        for source in sources {
            formats.append(1)
            switch source {
            case .null:
                pointers.append(nil)
                lengths.append(0)
            case .own(let offset, let length):
                pointers.append((own.base + offset).assumingMemoryBound(to: CChar.self))
                lengths.append(Int32(length))
            case .foreign(let address, let length):
                pointers.append(address.assumingMemoryBound(to: CChar.self))
                lengths.append(Int32(length))
            }
        }
        return types.withUnsafeBufferPointer { types in
            pointers.withUnsafeBufferPointer { values in
                lengths.withUnsafeBufferPointer { lengths in
                    formats.withUnsafeBufferPointer { formats in
                        body(
                            Int32(sources.count), types.baseAddress, values.baseAddress, lengths.baseAddress,
                            formats.baseAddress)
                    }
                }
            }
        }
    }
}
