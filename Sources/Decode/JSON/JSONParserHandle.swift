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

    /// Parses JSON with numbers beyond 64 bits, with these numbers replaced by ones that fit and that no integer accepts. Texts are read
    /// from the document itself.
    static func parse(
        _ document: UnsafeRawBufferPointer, without numbers: [JSONDiagnosis.OversizedNumber], _ parser: OpaquePointer
    ) -> sj_value? {
        var fitting = ByteBuffer(capacity: document.count)
        var next = 0
        for number in numbers {
            fitting.append(UnsafeRawBufferPointer(rebasing: document[next..<number.range.lowerBound]))
            // An integer beyond every integer's range, or a fraction, which no integer accepts. Neither is longer than the number:
            // with spaces after it, everything else keeps its place.
            fitting.append(ascii: number.isInteger ? "18446744073709551615" : "0.5")
            next = number.range.upperBound
            while fitting.count < next { fitting.append(byte: UInt8(ascii: " ")) }
        }
        fitting.append(UnsafeRawBufferPointer(rebasing: document[next...]))
        var root = sj_value()
        guard Int(sj_parse(parser, fitting.base, fitting.count, &root)) == SJ_OK else { return nil }
        sj_read_texts_from(parser, document.baseAddress)
        return root
    }
}

/// Memory for the values of a plan's slots, for those of a record key, and for the cells that are the same in all records of a batch.
struct DecodeScratch: ~Copyable {
    let values: UnsafeMutablePointer<sj_value>
    let keyValues: UnsafeMutablePointer<sj_value>
    let fixed: UnsafeMutablePointer<Slice>
    /// Why the record that was skipped last was skipped.
    let skipped: UnsafeMutablePointer<SkipCause>
    /// Whether the row of the event read last is Debezium's `before`.
    let isFormerRow: UnsafeMutablePointer<Bool>

    init(slots: Int, columns: Int, keyNames: Int) {
        values = .allocate(capacity: max(slots, 1))
        values.initialize(repeating: sj_value(), count: max(slots, 1))
        keyValues = .allocate(capacity: max(keyNames, 1))
        keyValues.initialize(repeating: sj_value(), count: max(keyNames, 1))
        fixed = .allocate(capacity: max(columns, 1))
        fixed.initialize(repeating: .absent, count: max(columns, 1))
        skipped = .allocate(capacity: 1)
        skipped.initialize(to: .otherRecord)
        isFormerRow = .allocate(capacity: 1)
        isFormerRow.initialize(to: false)
    }

    deinit {
        values.deallocate()
        keyValues.deallocate()
        fixed.deallocate()
        skipped.deallocate()
        isFormerRow.deallocate()
    }
}
