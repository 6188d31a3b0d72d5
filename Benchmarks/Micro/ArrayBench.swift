// Measures filling a binary array against copying the same bytes.

import Postgres
import Records

/// Elements of 100 bytes, 5,000 to an array.
struct ArrayBench {
    private static let elements = 5_000
    private let text = [UInt8](repeating: UInt8(ascii: "x"), count: EventStream.messageBytes)

    /// Nanoseconds an element.
    func fill() -> Double {
        var array = BinaryArray(element: 25)
        func fillOnce() {
            array.removeAll()
            text.withUnsafeBytes { bytes in for _ in 0..<Self.elements { array.append(bytes) } }
        }
        fillOnce()
        let memory = array.withBytes { $0.baseAddress }
        let result = Measuring.nanoseconds {
            fillOnce()
            return Self.elements
        }
        precondition(memory == array.withBytes { $0.baseAddress }, "a binary array that is refilled keeps its memory")
        return result
    }

    /// Nanoseconds an element that is only copied.
    func copy() -> Double {
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.elements * text.count, alignment: 16)
        defer { target.deallocate() }
        return text.withUnsafeBytes { bytes in
            Measuring.nanoseconds {
                for index in 0..<Self.elements {
                    UnsafeMutableRawBufferPointer(rebasing: target[(index * bytes.count)...]).copyMemory(from: bytes)
                }
                consume(target)
                return Self.elements
            }
        }
    }
}
