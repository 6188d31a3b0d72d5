// Owns a simdjson parser, and the scratch memory of a decoder.

import CSimdjson
import Records

/// A simdjson DOM parser.
struct JSONParserHandle: ~Copyable {
    let pointer: OpaquePointer

    /// - Parameter locates: values' own texts are needed; see `sj_raw`.
    init(_ limits: DecodeLimits, locates: Bool) {
        guard let parser = sj_parser_new(limits.payloadBytes, limits.depth, locates) else {
            fatalError("cannot allocate memory for a JSON parser")
        }
        pointer = parser
    }

    deinit { sj_parser_free(pointer) }
}

/// Memory for the values of a plan's slots, for those of a record key, and for the cells that are the same in all records of a batch.
struct DecodeScratch: ~Copyable {
    let values: UnsafeMutablePointer<sj_value>
    let keyValues: UnsafeMutablePointer<sj_value>
    let fixed: UnsafeMutablePointer<Slice>

    init(slots: Int, columns: Int, keyNames: Int) {
        values = .allocate(capacity: max(slots, 1))
        values.initialize(repeating: sj_value(), count: max(slots, 1))
        keyValues = .allocate(capacity: max(keyNames, 1))
        keyValues.initialize(repeating: sj_value(), count: max(keyNames, 1))
        fixed = .allocate(capacity: max(columns, 1))
        fixed.initialize(repeating: .absent, count: max(columns, 1))
    }

    deinit {
        values.deallocate()
        keyValues.deallocate()
        fixed.deallocate()
    }
}
