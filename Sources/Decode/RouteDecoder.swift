// Decodes the batches of a routed topic: finds each record's mapping, and lets its decoder decode the records that are its own.

import CSimdjson
public import Records

/// Decodes records of routed topics. It owns a JSON parser: use it, and its decoders, from one thread or task at a time.
public final class RouteDecoder {
    private let route: Route
    private let decoders: [Decoder]
    /// The positions of the mappings, in the order of the parts.
    private let routed: [Int]
    /// The part of each of the route's values.
    private let partOfValue: [Int]
    private let limits: DecodeLimits
    private let parser: JSONParserHandle
    private let scratch: DecodeScratch
    private let reader: EventReader

    /// Why no mapping decodes a record.
    enum Miss {
        case noValue, otherValue
        /// The part whose mapping does not have the topic.
        case otherTopic(part: Int)
    }

    enum Choice {
        case part(Int)
        case miss(Miss)
        /// It has no payload, and so no field.
        case nothing
    }

    /// See ``Route/header``.
    var header: (name: String, longest: Int)? { route.header }

    /// What is known of a topic before its records.
    struct Topic {
        let name: String
        /// By part: its mapping has the topic.
        let hasTopic: [Bool]
        /// The choice of all its records; `nil`: each has its own.
        let choice: Choice?
        /// For all mappings that have the topic the JSON value null is no payload.
        let takesJSONNull: Bool
    }

    /// - Parameters:
    ///   - decoders: of all mappings.
    ///   - routed: the positions of the route's mappings, in the order of the parts of a batch: ``ChangeBatch/parts``.
    public init(_ route: Route, decoders: [Decoder], routed: [Int], limits: DecodeLimits = DecodeLimits()) {
        self.route = route
        self.decoders = decoders
        self.routed = routed
        self.limits = limits
        partOfValue = route.tables.map { table in
            guard let part = routed.firstIndex(of: table.mapping) else {
                preconditionFailure("a table's mapping is of the route")
            }
            return part
        }
        parser = JSONParserHandle(limits, locates: false)
        scratch = DecodeScratch(slots: route.plan.pointers.count, columns: 0, keyNames: 0)
        reader = EventReader(
            plan: route.plan, columns: route.plan.columns, formats: nil, limits: limits, parser: parser.pointer, scratch: scratch)
    }

    /// Decodes all records of a batch, each by its own mapping.
    /// - Parameter readers: the positions of the mappings that have the batch's topic.
    public func decode(_ batch: RecordBatch, readers: [Int]) -> ChangeBatch {
        var positions = [[Int]](repeating: [], count: routed.count)
        var faults: [DecodeFault] = []
        let topic = self.topic(batch.source.topic, readers)
        withExtendedLifetime(batch) {
            let (records, base) = (batch.records, batch.base)
            for index in records.indices {
                do throws(EventFault) {
                    let context = RecordContext(record: records[index], base: base)
                    switch try choice(context, topic) {
                    case .part(let part): positions[part].append(index)
                    case .miss(let miss): if let fault = fault(miss, topic, record: index) { faults.append(fault) }
                    case .nothing: break
                    }
                } catch {
                    faults.append(fault(error, record: index))
                }
            }
        }
        shrink()
        let parts = positions.enumerated().map { part, positions in
            positions.isEmpty ? nil : decoder(of: part).decode(batch, positions)
        }
        return ChangeBatch(records: batch, parts: parts, faults: faults)
    }

    /// What is known of a topic.
    func topic(_ name: String, _ readers: [Int]) -> Topic {
        let hasTopic = routed.map(readers.contains)
        let choice = route.source == .topic ? choice(of: route.tables.firstIndex { $0.value == name }, hasTopic) : nil
        let takesJSONNull = readers.allSatisfy { decoders[$0].takesJSONNull }
        return Topic(name: name, hasTopic: hasTopic, choice: choice, takesJSONNull: takesJSONNull)
    }

    private func choice(_ context: RecordContext, _ topic: Topic) throws(EventFault) -> Choice {
        if let choice = topic.choice { return choice }
        if case .header = route.source { return choice(of: reader.header(0, of: context), topic) }
        guard let payload = context.bytes(context.record.value), !(topic.takesJSONNull && payload.isJSONNull) else {
            return .nothing
        }
        return try choice(ofEvent: payload, topic)
    }

    /// The choice of an event.
    /// - Parameter header: the value of ``header``; `nil`: there is none, or it does not matter.
    func choice(
        ofEvent event: UnsafeRawBufferPointer, header: [UInt8]? = nil, _ topic: Topic
    ) throws(EventFault) -> Choice {
        if let choice = topic.choice { return choice }
        guard case .field(let slot) = route.source else {
            return header?.withUnsafeBytes { choice(of: sj_value(text: $0), topic) } ?? .miss(.noValue)
        }
        return choice(of: try reader.value(ofSlot: slot, in: event), topic)
    }

    private func choice(of value: sj_value, _ topic: Topic) -> Choice {
        guard Int(value.type) > SJ_NULL else { return .miss(.noValue) }
        return choice(of: reader.conditions.position(of: value, 0, partOfValue.count), topic.hasTopic)
    }

    private func choice(of value: Int?, _ hasTopic: [Bool]) -> Choice {
        guard let value else { return .miss(.otherValue) }
        let part = partOfValue[value]
        return hasTopic[part] ? .part(part) : .miss(.otherTopic(part: part))
    }

    /// Its sentence has nothing of the record, as those of other faults. `nil`: such records are skipped.
    @inline(never)
    func fault(_ miss: Miss, _ topic: Topic, record: Int) -> DecodeFault? {
        guard route.otherwise == .deadLetter else { return nil }
        let by =
            route.source == .topic ? "the topic \(topic.name)" : route.plan.headers.first.map { "header \($0)" } ?? route.by
        let detail =
            switch miss {
            case .noValue: "\(by) is missing or null: no table of the route is for the record"
            case .otherValue: "\(by) must be one of \(route.tables.map(\.value).joined(separator: ", ")), the tables of the route"
            case .otherTopic(let part):
                "\(by) names the mapping \(decoder(of: part).mapping.name), which does not have the topic \(topic.name)"
            }
        return DecodeFault(record: Int32(record), reason: DecodeReason.noRoute.rawValue, detail: detail)
    }

    @inline(never)
    func fault(_ fault: EventFault, record: Int) -> DecodeFault {
        DecodeFault(
            record: Int32(record), reason: fault.reason.rawValue, detail: fault.detail(route.plan, reader.columns, limits))
    }

    /// The decoder of one part's mapping.
    func decoder(of part: Int) -> Decoder { decoders[routed[part]] }

    /// Frees the memory of large documents.
    func shrink() { sj_parser_shrink(parser.pointer, Decoder.keptParserBytes) }
}

extension EventReader {
    /// The value of one field of an event; what it is in need not be there.
    fileprivate func value(ofSlot slot: Int, in payload: UnsafeRawBufferPointer) throws(EventFault) -> sj_value {
        let root = try object(payload)
        for step in objects { try lookUpForCondition(step, in: root) }
        if values[slot].is_repeated { throw .repeated(slot: slot) }
        return values[slot]
    }
}
