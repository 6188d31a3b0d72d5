// Owns simdjson's parser.

import CSimdjson
import Records

/// simdjson's DOM parser: one C pointer, one owner.
struct JSONParserHandle: ~Copyable {
    let pointer: OpaquePointer

    init(_ limits: DecodeLimits) {
        guard let parser = sj_parser_new(limits.payloadBytes, limits.depth) else {
            fatalError("no memory for a JSON parser")
        }
        pointer = parser
    }

    deinit { sj_parser_free(pointer) }
}

/// Places for the values a plan reads and for the cells all records of a batch share: memory of one decoder.
struct DecodeScratch: ~Copyable {
    let found: UnsafeMutablePointer<sj_value>
    let fixed: UnsafeMutablePointer<Slice>

    init(slots: Int, columns: Int) {
        found = .allocate(capacity: max(slots, 1))
        found.initialize(repeating: sj_value(), count: max(slots, 1))
        fixed = .allocate(capacity: max(columns, 1))
        fixed.initialize(repeating: .absent, count: max(columns, 1))
    }

    deinit {
        found.deallocate()
        fixed.deallocate()
    }
}
