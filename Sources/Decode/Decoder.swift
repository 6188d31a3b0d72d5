// The public API of the module: decodes record batches into change batches with one mapping.

import CSimdjson
public import Records

/// Limits of a payload and its row.
public struct DecodeLimits: Sendable, Equatable {
    /// Bytes of one payload.
    public var payloadBytes: Int
    /// Levels of nesting in one payload.
    public var depth: Int
    /// Bytes of the values of one row. Arrays of short numbers become up to twelve times as long.
    public var rowBytes: Int

    /// Defaults: 16 MiB, 512 levels, 256 MiB.
    public init(payloadBytes: Int = 16 << 20, depth: Int = 512, rowBytes: Int = 256 << 20) {
        self.payloadBytes = payloadBytes
        self.depth = depth
        self.rowBytes = rowBytes
    }
}

/// Decodes records with one mapping. It owns a JSON parser and scratch memory: use it from one thread or task at a time.
public final class Decoder: EventValidator {
    /// The mapping.
    public let mapping: Mapping
    private let limits: DecodeLimits
    private let parser: JSONParserHandle
    let scratch: DecodeScratch
    /// The readers' own: they change with the events.
    private let formats, plainFormats: SchemaFormats?
    private let reader: EventReader
    /// Reads what ``validate(_:key:)`` checks: values that a column hashes as they are.
    private let plainReader: EventReader
    /// The cells of ``validate(_:key:)``, which are not used.
    private(set) var discarded: ChangeRows
    /// Bytes of values per 256 bytes of records in the last batch: what is reserved for the next.
    private var valueShare = 64
    /// Whether ``validate(_:key:)`` made a key for the last event.
    public private(set) var hasKey = false

    /// The JSON value null counts as a null payload.
    var takesJSONNull: Bool { reader.takesJSONNull }

    /// After a batch with a larger document, the parser's memory (about 14 times the document) is freed; and cells beyond this.
    static let keptParserBytes = 1 << 20

    /// A decoder of one mapping's events.
    public init(mapping: Mapping, limits: DecodeLimits = DecodeLimits()) {
        self.mapping = mapping
        self.limits = limits
        let plan = mapping.plan
        parser = JSONParserHandle(limits, locates: plan.needsTokens)
        scratch = DecodeScratch(
            slots: plan.pointers.count, columns: plan.columns.count, keyNames: plan.keyNames.count)
        formats = plan.schemaColumns.isEmpty ? nil : SchemaFormats(plan.schemaColumns, plan.columns)
        plainFormats = plan.schemaColumns.isEmpty ? nil : SchemaFormats(plan.schemaColumns, plan.plainColumns)
        reader = EventReader(
            plan: plan, columns: plan.columns, formats: formats, limits: limits, parser: parser.pointer, scratch: scratch)
        plainReader = EventReader(
            plan: plan, columns: plan.plainColumns, formats: plainFormats, limits: limits, parser: parser.pointer,
            scratch: scratch)
        discarded = ChangeRows(columnCount: plan.columns.count, longestChange: limits.rowBytes)
    }

    /// Decodes all records of a batch. A record that cannot be decoded becomes a ``DecodeFault`` and does not affect the others.
    public func decode(_ batch: RecordBatch) -> ChangeBatch { decode(batch, batch.records.indices) }

    /// Decodes the records at some positions, in ascending order. The others are neither changes nor faults.
    @inline(__always)
    func decode(_ batch: RecordBatch, _ positions: some RandomAccessCollection<Int>) -> ChangeBatch {
        let reader = reader
        let records = batch.records
        let bytes =
            positions.count == records.count ? batch.byteCount : batch.byteCount / max(records.count, 1) * positions.count
        let expected = (bytes >> 8) * (valueShare + 8) + 256
        var rows = ChangeRows(
            columnCount: reader.columns.count, changes: positions.count, bytes: expected, longestChange: limits.rowBytes)
        writeFixedCells(batch.source, into: &rows)
        withExtendedLifetime(batch) {
            let base = batch.base
            decoding: for index in positions {
                let context = RecordContext(record: records[index], base: base)
                do throws(EventFault) {
                    let (operation, prefix) =
                        if let payload = reader.payload(of: context) {
                            try reader.event(payload, context, into: &rows)
                        } else {
                            try reader.tombstone(context, into: &rows)
                        }
                    if let operation { rows.append(record: index, operation: operation, keyPrefix: prefix) }
                } catch {
                    rows.abandonRow()
                    if case .truncate = error {
                        rows.stop(before: index, stopReason(error, context.record.offset, reader))
                        break decoding
                    }
                    rows.append(fault(error, record: index, reader))
                }
            }
        }
        if bytes >= 4096 { valueShare = rows.values.count / (bytes >> 8) }
        sj_parser_shrink(parser.pointer, Self.keptParserBytes)
        return ChangeBatch(records: batch, rows: rows)
    }

    /// Checks one event as ``decode(_:)`` does.
    public func validate(_ event: UnsafeRawBufferPointer, key: inout ByteBuffer) -> DecodeFault? {
        let reader = plainReader
        defer {
            discarded.abandonRow()
            discarded.values.shrink(to: Self.keptParserBytes)
            sj_parser_shrink(parser.pointer, Self.keptParserBytes)
        }
        do throws(EventFault) {
            hasKey = false
            let (operation, _) = try reader.event(event, nil, into: &discarded)
            hasKey = !mapping.plan.key.isEmpty && (operation != nil || reader.hasKey(into: &discarded))
            if hasKey { reader.appendKafkaKey(of: discarded, to: &key) }
            return nil
        } catch {
            return fault(error, record: 0, reader)
        }
    }

    @inline(never)
    private func fault(_ fault: EventFault, record: Int, _ reader: EventReader) -> DecodeFault {
        let detail = fault.detail(mapping.plan, reader.columns, limits, ofFormerRow: scratch.isFormerRow.pointee)
        return DecodeFault(record: Int32(record), reason: fault.reason.rawValue, detail: detail)
    }

    @inline(never)
    private func stopReason(_ fault: EventFault, _ offset: Int64, _ reader: EventReader) -> StopReason {
        StopReason(.truncate, "offset \(offset): " + fault.detail(mapping.plan, reader.columns, limits))
    }

    /// Writes the values that are the same in all records of a batch, once for all rows.
    private func writeFixedCells(_ source: TopicPartition, into rows: inout ChangeRows) {
        for (column, value) in mapping.plan.fixed {
            switch value {
            case .topic:
                var topic = source.topic
                scratch.fixed[column] = topic.withUTF8 { rows.values.appendSlice(UnsafeRawBufferPointer($0)) }
            case .partition:
                let isWide = mapping.plan.columns.start[column].type == .int8
                scratch.fixed[column] =
                    isWide ? rows.appendValue(bigEndian: Int64(source.partition)) : rows.appendValue(bigEndian: source.partition)
            case .constant(let bytes):
                scratch.fixed[column] = bytes.withUnsafeBytes { rows.values.appendSlice($0) }
            }
        }
        rows.keepValues()
    }
}
