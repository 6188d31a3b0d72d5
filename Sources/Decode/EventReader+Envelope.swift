// Reads what an envelope says of an event: whether it is one, which operation it states, and where its row is.

import CSimdjson
import Records

extension EventReader {
    /// Looks up the fields of an event of any envelope and mode.
    /// - Returns: what the event does to its row; `nil` where it is skipped.
    @inline(never)
    func operation(
        of root: sj_value, _ document: UnsafeRawBufferPointer, _ context: RecordContext?
    ) throws(EventFault) -> Operation? {
        isFormerRow.pointee = false
        // They are for telling apart the records of a topic, of which others may be in no envelope.
        if !meetsHeaderConditions(context) { return nil }
        var event = root
        // The first object is the event itself. A mapping may read nothing of it.
        if let first = objects.first {
            try lookUp(first, in: event)
            if slots.payload >= 0, Int(values[slots.payload].type) == SJ_OBJECT, Int(values[slots.operation].type) == SJ_ABSENT {
                event = values[slots.payload]
                try lookUp(first, in: event)
                formats?.takeUnretainedValue().take(root, document)
            } else {
                formats?.takeUnretainedValue().restore()
            }
        }
        var stated: Operation?
        var isTruncate = false
        if envelope == .debezium {
            isTruncate = states(Debezium.truncate)
            // A truncate has no row, so it is asked what a Delete without one is asked.
            guard let operation = isTruncate ? .delete : try debeziumOperation(event) else { return nil }
            if operation == .delete {
                values[slots.row] = values[slots.before]
                isFormerRow.pointee = true
            }
            stated = operation
        }
        var next = 1
        if !conditions.steps.isEmpty {
            if try !meetsConditions(event, stated) { return nil }
            if !isTruncate { try checkConditionObjects(.delete) }
            next = max(1, conditionObjects)
        }
        if isTruncate {
            if effect(of: .delete) == nil { return skip(.operation(.delete)) }
            throw .truncate(isRecord: context != nil)
        }
        if envelope == .cloudevents { try checkCloudEvent() }
        while next < essentialObjects {
            try lookUp(objects[next], in: event)
            next += 1
        }
        let operation: Operation = if let stated { stated } else { try statedOperation() }
        let effect = effect(of: operation)
        if effect == nil { return skip(.operation(operation)) }
        if effect == .delete { return effect }
        if !conditions.steps.isEmpty { try checkConditionObjects(.row) }
        while next < objects.count {
            try lookUp(objects[next], in: event)
            next += 1
        }
        if !placeholders.isEmpty { try removePlaceholders() }
        return effect
    }

    /// Notes why the record is skipped. Returns `nil`: it has no operation.
    private func skip(_ cause: SkipCause) -> Operation? {
        skipped.pointee = cause
        return nil
    }

    /// What an operation does in the mapping's mode; `nil`: nothing.
    func effect(of operation: Operation) -> Operation? {
        switch (mode, operation) {
        case (.upsert, _): operation
        // There is no row to delete.
        case (.append, .delete): nil
        case (.append, _): operation
        case (.insertOnly, .create), (.insertOnly, .upsert): .create
        case (.insertOnly, .update), (.insertOnly, .delete): nil
        }
    }

    /// The operation of an event whose envelope need not state one.
    private func statedOperation() throws(EventFault) -> Operation { slots.operation < 0 ? .upsert : try operation() }

    private func checkCloudEvent() throws(EventFault) {
        let version = values[slots.version]
        guard Int(version.type) == SJ_STRING, version.bits >= 2 else { throw .notACloudEvent }
        let text = UnsafeRawBufferPointer(start: version.pointer, count: 2)
        // Minor versions are compatible.
        guard text[0] == UInt8(ascii: "1"), text[1] == UInt8(ascii: ".") else { throw .notACloudEvent }
        if Int(values[slots.base64].type) > SJ_NULL { throw .dataIsBinary }
    }

    // MARK: Debezium

    /// The operation in `op`; `nil`: the record is no event of a row.
    private func debeziumOperation(_ event: sj_value) throws(EventFault) -> Operation? {
        let value = values[slots.operation]
        if Int(value.type) == SJ_ABSENT {
            if isOtherRecord(event) { return skip(.otherRecord) }
            throw .noOperation
        }
        return states(Debezium.message) ? skip(.message) : try operation()
    }

    /// Whether `op` is one letter.
    private func states(_ letter: UInt8) -> Bool {
        let value = values[slots.operation]
        return Int(value.type) == SJ_STRING && value.bits == 1 && !value.is_repeated
            && value.pointer.load(as: UInt8.self) == letter
    }

    /// Whether a record without `op` is a heartbeat, `{"ts_ms": …}`, or of the transaction topic: BEGIN or END in `status`, and
    /// `data_collections`.
    private func isOtherRecord(_ event: sj_value) -> Bool {
        var event = event
        return withUnsafeTemporaryAllocation(of: sj_value.self, capacity: 3) { found in
            guard let fields = found.baseAddress else { return false }
            sj_find(&event, Debezium.otherFields.names, 3, fields)
            if Int(fields[1].type) == SJ_STRING, Int(fields[2].type) != SJ_ABSENT {
                return sj_word(fields + 1, Debezium.transactionStates.names, 2) >= 0
            }
            return Int(fields[0].type) == SJ_INT64 && sj_count(&event) == 1
        }
    }

    /// Makes the fields absent that hold the placeholder for a value that did not change.
    private func removePlaceholders() throws(EventFault) {
        for step in placeholders {
            let value = values[step.slot]
            if Int(value.type) == SJ_ABSENT, !step.isOptional { throw .missing(slot: step.slot) }
            if !value.is_repeated, isPlaceholder(value) { values[step.slot] = sj_value() }
        }
    }

    private func isPlaceholder(_ value: sj_value) -> Bool {
        var value = value
        switch Int(value.type) {
        case SJ_STRING: return isPlaceholder(value, Debezium.placeholderCount)
        case SJ_ARRAY: return isPlaceholder(array: value)
        case SJ_OBJECT:
            // An hstore.
            guard sj_count(&value) == 1 else { return false }
            var member = sj_value()
            sj_find(&value, Debezium.placeholders.names, 1, &member)
            return Int(member.type) == SJ_STRING && isPlaceholder(member, 1)
        default: return false
        }
    }

    /// - Parameter forms: how many of the placeholder's forms may be meant.
    private func isPlaceholder(_ text: sj_value, _ forms: Int) -> Bool {
        var text = text
        // The lengths of the forms: most values need no comparison.
        switch text.bits {
        case 28, 36, 40, 56, 63: return sj_word(&text, Debezium.placeholders.names, forms) >= 0
        default: return false
        }
    }

    /// Whether an array has a single placeholder, or is one of integers that are the placeholder's bytes.
    private func isPlaceholder(array: sj_value) -> Bool {
        var array = array
        var elements = sj_elements_of(&array)
        var element = sj_value()
        var count = 0
        while sj_next(&elements, &element) {
            if Int(element.type) == SJ_STRING {
                return count == 0 && isPlaceholder(element, Debezium.placeholderCountInArrays) && !sj_next(&elements, &element)
            }
            guard Int(element.type) == SJ_INT64, count < Debezium.placeholder.utf8CodeUnitCount,
                element.bits == UInt64(Debezium.placeholder.utf8Start[count])
            else { return false }
            count += 1
        }
        return count == Debezium.placeholder.utf8CodeUnitCount
    }

    /// Whether a former row lacks a column of the key.
    var lacksKey: Bool { keySlots.contains { Int(values[$0].type) <= SJ_NULL } }

    /// Writes the cells of a Delete whose former row lacks the key.
    /// - Returns: the key's prefix.
    func delete(_ context: RecordContext?, into rows: inout ChangeRows) throws(EventFault) -> UInt64 {
        guard kafkaKey != .none, let context, let key = context.bytes(context.record.key) else { throw .deleteWithoutKey }
        // Before the key is parsed: values of the event become invalid.
        let version = try versionOfDelete(context, into: &rows)
        return try readKey(key, version: version, into: &rows)
    }

    // MARK: Conditions

    private func meetsHeaderConditions(_ context: RecordContext?) -> Bool {
        guard let context else { return true }
        let failed = conditions.steps.firstIndex { step in
            step.slot < 0 && conditions.passes(header(step.header, of: context), step.test) != true
        }
        return failed.map { unmet($0) } ?? true
    }

    /// Whether an event meets the conditions on fields.
    private func meetsConditions(
        _ event: sj_value, _ stated: Operation?
    ) throws(EventFault) -> Bool {
        for index in 1..<max(1, conditionObjects) { try lookUpForCondition(objects[index], in: event) }
        var lacking: Int?
        for index in conditions.steps.indices {
            let step = conditions.steps[index]
            if step.slot < 0 { continue }
            if values[step.slot].is_repeated { throw .repeated(slot: step.slot) }
            guard let passes = conditions.passes(values[step.slot], step.test) else {
                lacking = lacking ?? index
                continue
            }
            if !passes { return unmet(index) }
        }
        guard let lacking else { return true }
        _ = unmet(lacking)
        // A Delete may carry its key only.
        if let stated { return stated == .delete }
        // An event that states no operation is no Delete.
        do throws(EventFault) { return try statedOperation() == .delete } catch { return false }
    }

    /// Notes which condition is not met. Returns false.
    private func unmet(_ index: Int, hasPayload: Bool = true) -> Bool {
        skipped.pointee = .condition(index, hasPayload: hasPayload)
        return false
    }

    /// Fields of what is no object are absent: conditions come before the types of fields are checked.
    func lookUpForCondition(_ step: ObjectStep, in event: sj_value) throws(EventFault) {
        do throws(EventFault) {
            try lookUp(step, in: event)
        } catch {
            guard case .notAContainer = error else { throw error }
            for slot in step.first..<step.first + step.count { values[slot] = sj_value() }
        }
    }

    /// Throws where columns read fields of a condition's object too, and it is none: to the conditions these were absent.
    /// - Parameter need: what the columns are needed for.
    private func checkConditionObjects(_ need: FieldNeed) throws(EventFault) {
        for index in 1..<max(1, conditionObjects) where objects[index].columnsNeed == need {
            if Int(values[objects[index].parent].type) > SJ_NULL, Int(values[objects[index].parent].type) != SJ_OBJECT {
                try lookUp(objects[index], in: sj_value())
            }
        }
    }

    /// The value of a header, as a text.
    func header(_ index: Int, of context: RecordContext) -> sj_value {
        context.bytes(context.record.headers).flatMap { header(index, in: $0) }.map { sj_value(text: $0) } ?? sj_value()
    }

    /// Whether a record without payload meets the conditions. It meets none on fields: its key may be that of a row whose events have
    /// other values in them, and of which the mapping takes nothing.
    func meetsConditions(withoutPayload context: RecordContext) -> Bool {
        isFormerRow.pointee = false
        let failed = conditions.steps.firstIndex { step in
            step.slot >= 0 || conditions.passes(header(step.header, of: context), step.test) != true
        }
        return failed.map { unmet($0, hasPayload: false) } ?? true
    }
}

extension sj_value {
    /// A text that is in no document.
    init(text: UnsafeRawBufferPointer) {
        self.init()
        type = UInt8(SJ_STRING)
        pointer = text.baseAddress
        bits = UInt64(text.count)
    }
}
