// Reads one record as the plan says: parses it, looks up the fields, checks them, and writes the cells.

import CSimdjson
import Glibc
import Records

/// A record with the buffer of its batch. An event at the ingress has none yet.
struct RecordContext {
    let record: Record
    /// The start of the batch's buffer, which the record's slices are relative to.
    let base: UnsafeRawPointer

    func bytes(_ slice: Slice) -> UnsafeRawBufferPointer? {
        slice.length < 0 ? nil : UnsafeRawBufferPointer(start: base + Int(slice.start), count: Int(slice.length))
    }
}

extension UnsafeRawBufferPointer {
    /// Whether the bytes are the JSON value null.
    @inline(__always)
    var isJSONNull: Bool { count >= 4 && self[0] != UInt8(ascii: "{") && isNullWithinSpace }

    @inline(never)
    private var isNullWithinSpace: Bool {
        func isText(_ byte: UInt8) -> Bool { !" \n\r\t".utf8.contains(byte) }
        guard let first = firstIndex(where: isText), let last = lastIndex(where: isText) else { return false }
        return self[first...last].elementsEqual("null".utf8)
    }
}

/// Reads records with a decoder's parser and scratch memory. The decoder must outlive it.
///
/// Everything that is used per record is a plain pointer into the plan's tables, so that no reference is counted.
struct EventReader {
    let plan: DecodePlan
    let limits: DecodeLimits
    let parser: OpaquePointer
    /// The value of each slot, of the record read last.
    let values: UnsafeMutablePointer<sj_value>
    /// One cell per column; only those of `fixed` columns are used.
    let fixed: UnsafeMutablePointer<Slice>
    /// Set where a record is skipped; see ``Decoder/trial(of:)``.
    let skipped: UnsafeMutablePointer<SkipCause>
    let isFormerRow: UnsafeMutablePointer<Bool>
    /// The values of a record key; see ``RecordKeyNames``.
    let keyValues: UnsafeMutablePointer<sj_value>
    let columns: UnsafeBufferPointer<ColumnStep>
    /// Changes `columns` to what an event's schema says; `nil`: no column's format may come from there.
    let formats: Unmanaged<SchemaFormats>?
    let objects: UnsafeBufferPointer<ObjectStep>
    let conditionObjects: Int
    let essentialObjects: Int
    /// Every event is a row with a field that names the operation, there are no conditions, and each operation has its effect: nothing
    /// but ``operation()`` decides.
    private let isPlain: Bool
    let mode: WriteMode
    let conditions: ConditionReader
    let envelope: EnvelopeKind
    let slots: Envelope.Slots
    let placeholders: UnsafeBufferPointer<PlaceholderStep>
    /// The record's key is compared with the payload's.
    private let checksKey: Bool
    let kafkaKey: KafkaKeyFormat
    /// The slots of the key's columns, and the members' names of a record key that is a JSON object, in key order.
    let keySlots: UnsafeBufferPointer<Int>
    let keyMembers: UnsafePointer<sj_name>
    private let names: UnsafePointer<sj_name>
    /// The words that the field that names the operation may hold, and their operations.
    private let words: UnsafePointer<sj_name>
    private let operations: UnsafeBufferPointer<Operation>

    init(
        plan: DecodePlan, columns: PlanTable<ColumnStep>, formats: SchemaFormats?, limits: DecodeLimits, parser: OpaquePointer,
        scratch: borrowing DecodeScratch
    ) {
        self.plan = plan
        self.limits = limits
        self.parser = parser
        values = scratch.values
        fixed = scratch.fixed
        skipped = scratch.skipped
        isFormerRow = scratch.isFormerRow
        keyValues = scratch.keyValues
        self.formats = formats.map { Unmanaged.passUnretained($0) }
        self.columns =
            formats.map { UnsafeBufferPointer($0.columns) } ?? UnsafeBufferPointer(start: columns.start, count: columns.count)
        objects = UnsafeBufferPointer(start: plan.objects.start, count: plan.objects.count)
        conditionObjects = plan.conditionObjects
        essentialObjects = plan.essentialObjects
        mode = plan.mode
        conditions = ConditionReader(plan.conditions)
        envelope = plan.envelope.kind
        slots = plan.envelope.slots
        placeholders = UnsafeBufferPointer(start: plan.envelope.placeholders.start, count: plan.envelope.placeholders.count)
        isPlain = envelope == .action && mode == .upsert && conditions.steps.isEmpty
        checksKey = plan.kafkaKeyMismatch != .ignore && plan.kafkaKey != .none && !plan.key.isEmpty
        kafkaKey = plan.kafkaKey
        keySlots = UnsafeBufferPointer(start: plan.keySlots.start, count: plan.keySlots.count)
        keyMembers = plan.keyNames.members.names
        names = plan.names.names
        words = plan.envelope.names.names
        operations = UnsafeBufferPointer(start: plan.envelope.operations.start, count: plan.envelope.operations.count)
    }

    /// A record's payload; `nil`: none. Kafka Connect's JsonConverter without schemas writes a null that has a schema as the JSON value
    /// null, so the envelopes of its records take that for none.
    @inline(__always)
    func payload(of context: RecordContext) -> UnsafeRawBufferPointer? {
        guard let payload = context.bytes(context.record.value) else { return nil }
        return takesJSONNull && payload.isJSONNull ? nil : payload
    }

    /// The JSON value null is no payload.
    @inline(__always)
    var takesJSONNull: Bool { envelope == .upsert || envelope == .debezium }

    /// Reads an event and writes its cells. 64 bytes after the payload must be readable.
    /// - Returns: the operation and the key's prefix; no operation where the record is skipped.
    @inline(__always)
    func event(
        _ payload: UnsafeRawBufferPointer, _ context: RecordContext?, into rows: inout ChangeRows
    ) throws(EventFault) -> (Operation?, UInt64) {
        let root = try object(payload)
        let operation: Operation
        if isPlain {
            for index in 0..<essentialObjects { try lookUp(objects[index], in: root) }
            operation = try self.operation()
            if operation != .delete {
                for index in essentialObjects..<objects.count { try lookUp(objects[index], in: root) }
            }
        } else {
            guard let stated = try self.operation(of: root, payload, context) else { return (nil, 0) }
            operation = stated
            if envelope == .debezium, operation == .delete, lacksKey { return (operation, try delete(context, into: &rows)) }
        }
        // JSON allows no raw control characters, so a NUL can only come from an escape.
        let mayHoldNUL = memchr(payload.baseAddress!, Int32(UInt8(ascii: "\\")), payload.count) != nil
        var prefix: UInt64 = 0
        for index in columns.indices {
            let step = columns[index]
            if operation == .delete {
                if !step.isInDeletes {
                    rows.append(cell: .absent)
                    continue
                }
                try requireVersion(step)
            }
            let cell: Slice =
                switch step.source {
                case .field(let slot): try field(slot, index, step, mayHoldNUL, into: &rows)
                case .fixed: fixed[index]
                case .event: try value(root, index, step, mayHoldNUL, into: &rows)
                default: try metadata(index, step, context, into: &rows)
                }
            if rows.isTooLong { throw .value(.tooLong, column: index, actual: UInt8(SJ_ABSENT)) }
            if step.keyPosition == 0 { prefix = ValueWriter.keyPrefix(cell, type: step.type, in: rows) }
            rows.append(cell: cell)
        }
        if checksKey, let context, let key = context.bytes(context.record.key) { try compare(key, into: &rows) }
        return (operation, prefix)
    }

    /// Parses an event, which must be an object.
    @inline(__always)
    func object(_ payload: UnsafeRawBufferPointer) throws(EventFault) -> sj_value {
        var root = sj_value()
        let outcome = sj_parse(parser, payload.baseAddress, payload.count, &root)
        if Int(outcome) != SJ_OK { root = try reparse(payload, after: outcome) }
        guard Int(root.type) == SJ_OBJECT else { throw .notAnObject(actual: root.type) }
        return root
    }

    /// Looks up the fields of one object. Where the object is absent or null, its fields are absent.
    @inline(__always)
    func lookUp(_ step: ObjectStep, in root: sj_value) throws(EventFault) {
        if step.parent < 0 {
            var root = root
            sj_find(&root, names + step.first, step.count, values + step.first)
        } else {
            if values[step.parent].is_repeated { throw .repeated(slot: step.parent) }
            if Int(values[step.parent].type) == SJ_OBJECT {
                sj_find(values + step.parent, names + step.first, step.count, values + step.first)
            } else {
                try lookUpInOther(step, values[step.parent])
            }
        }
    }

    @inline(never)
    private func lookUpInOther(_ step: ObjectStep, _ container: sj_value) throws(EventFault) {
        var container = container
        let slots = step.first..<step.first + step.count
        switch Int(container.type) {
        case SJ_ABSENT, SJ_NULL:
            for slot in slots { values[slot] = sj_value() }
        case SJ_ARRAY where slots.contains { plan.indices[$0] >= 0 }:
            for slot in slots {
                let index = plan.indices[slot]
                values[slot] = index < 0 ? sj_value() : sj_at(&container, index)
            }
        default: throw .notAContainer(slot: step.parent, actual: container.type)
        }
    }

    /// The operation that the event states.
    @inline(__always)
    func operation() throws(EventFault) -> Operation {
        let slot = slots.operation
        if values[slot].is_repeated { throw .repeated(slot: slot) }
        guard Int(values[slot].type) == SJ_STRING else {
            if Int(values[slot].type) == SJ_ABSENT { throw .missing(slot: slot) }
            throw .actionNotAString(actual: values[slot].type)
        }
        let word = sj_word(values + slot, words, operations.count)
        if word < 0 { throw .unknownAction }
        return operations[word]
    }

    @inline(__always)
    private func field(
        _ slot: Int, _ column: Int, _ step: ColumnStep, _ mayHoldNUL: Bool, into rows: inout ChangeRows
    ) throws(EventFault) -> Slice {
        let value = values[slot]
        if value.is_repeated { throw .repeated(slot: slot) }
        if Int(value.type) <= SJ_NULL {
            if Int(value.type) == SJ_NULL, step.isNullable { return .null }
            if Int(value.type) == SJ_ABSENT, step.isOptional { return .absent }
            if Int(value.type) == SJ_ABSENT { throw .missing(slot: slot) }
        }
        return try self.value(value, column, step, mayHoldNUL, into: &rows)
    }

    @inline(__always)
    private func value(
        _ value: sj_value, _ column: Int, _ step: ColumnStep, _ mayHoldNUL: Bool, into rows: inout ChangeRows
    ) throws(EventFault) -> Slice {
        do throws(ValueFault) {
            return try ValueWriter.cell(value, step.codec, parser: parser, mayHoldNUL: mayHoldNUL, into: &rows)
        } catch {
            throw .value(error, column: column, actual: value.type)
        }
    }

    /// A Delete of Debezium has the former row's key only, unless the source table says otherwise.
    private func requireVersion(_ step: ColumnStep) throws(EventFault) {
        guard envelope == .debezium, step.keyPosition < 0, case .field(let slot) = step.source else { return }
        if Int(values[slot].type) == SJ_ABSENT { throw .deleteWithoutVersion(slot: slot) }
    }

    /// The version of a Delete whose key is in the record's key.
    func versionOfDelete(_ context: RecordContext, into rows: inout ChangeRows) throws(EventFault) -> Slice {
        for index in columns.indices where columns[index].isInDeletes && columns[index].keyPosition < 0 {
            try requireVersion(columns[index])
            if case .field(let slot) = columns[index].source { return try field(slot, index, columns[index], true, into: &rows) }
            return try metadata(index, columns[index], context, into: &rows)
        }
        return .absent
    }

    /// The value of a `metadata` column, which comes from the record and not from the event.
    @inline(never)
    func metadata(
        _ column: Int, _ step: ColumnStep, _ context: RecordContext?, into rows: inout ChangeRows
    ) throws(EventFault) -> Slice {
        guard let context else { return .absent }
        var text: UnsafeRawBufferPointer?
        switch step.source {
        case .offset: return rows.appendValue(bigEndian: context.record.offset)
        case .timestamp where context.record.timestamp >= 0:
            guard let microseconds = context.record.timestamptz else {
                throw .value(.outOfRange, column: column, actual: UInt8(SJ_ABSENT))
            }
            return rows.appendValue(bigEndian: microseconds)
        case .key: text = context.bytes(context.record.key)
        case .header(let index): text = context.bytes(context.record.headers).flatMap { header(index, in: $0) }
        case .timestamp, .field, .fixed, .event: text = nil
        }
        guard let text else {
            if step.isOptional { return .absent }
            if step.isNullable { return .null }
            throw .missingMetadata(column: column)
        }
        do throws(ValueFault) {
            return try ValueWriter.cell(text: text, step.codec, into: &rows)
        } catch {
            throw .value(error, column: column, actual: UInt8(SJ_ABSENT))
        }
    }

    /// The value of the last header with a name, as with Kafka's `Headers.lastHeader`.
    func header(_ index: Int, in headers: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let wanted = plan.headers[index]
        var last: UnsafeRawBufferPointer?
        RecordHeaders.forEach(in: headers) { name, value in
            if name.elementsEqual(wanted.utf8) { last = value }
        }
        return last
    }

    /// Handles a document that simdjson refused. Throws its fault; or, where it is JSON with numbers beyond 64 bits, parses it
    /// with these numbers replaced by ones that fit and that no integer accepts, and returns its root. Other types read numbers from the
    /// document itself.
    @inline(never)
    private func reparse(_ payload: UnsafeRawBufferPointer, after outcome: Int32) throws(EventFault) -> sj_value {
        switch Int(outcome) {
        case SJ_TOO_LARGE: throw .tooLarge(bytes: payload.count)
        case SJ_TOO_DEEP: throw .tooDeep
        case SJ_NO_MEMORY: throw .noMemory(bytes: payload.count)
        default: break
        }
        if payload.isEmpty { throw .empty }
        var diagnosis = JSONDiagnosis(payload, depth: limits.depth)
        let result = diagnosis.run()
        let slot = diagnosis.field(among: plan.pointers) ?? -1
        switch result {
        case .malformed(let at): throw .malformed(at: at, slot: slot)
        case .notUTF8(let at): throw .notUTF8(at: at, slot: slot)
        case .loneSurrogate(let at): throw .loneSurrogate(at: at, slot: slot)
        case .tooDeep: throw .tooDeep
        case .numbers(let numbers):
            guard let root = JSONParserHandle.parse(payload, without: numbers, parser) else { throw .malformed(at: -1, slot: -1) }
            return root
        }
    }
}
