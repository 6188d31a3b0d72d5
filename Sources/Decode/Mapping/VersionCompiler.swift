// Compiles what a mapping file says about versions: `version`.

import Records
import Settings

/// The key `version` of a mapping file, before it is compared with the columns.
struct VersionDeclaration {
    enum Equal: String, CaseIterable { case first, last }

    /// Where a record without payload has its version.
    enum NullPayload {
        case skip
        case timestamp
        /// The name of a header.
        case header(String)
    }

    /// The column's name.
    let column: String
    var equal = Equal.last
    var nullPayload: NullPayload?
    /// The node of the whole, and of `null_payload`.
    let node: YAMLNode
    var nullPayloadNode: YAMLNode?
}

/// A version that fits its mapping.
struct CompiledVersion {
    let shape: RowVersion
    /// What a record without payload means. `nil`: it has no effect without a version anyway.
    let nullPayload: VersionDeclaration.NullPayload?
}

extension MappingReader {
    /// The key `version`: a column's name, or `{column: NAME, equal: first | last, null_payload: timestamp | headers.NAME | skip}`.
    mutating func version(_ node: YAMLNode) -> VersionDeclaration? {
        guard node.mapping != nil else {
            return string(node, "version").map { VersionDeclaration(column: $0, node: node) }
        }
        guard let entries = entries(of: node, in: "version", known: MappingKeys.version.names) else { return nil }
        guard let column = entries["column"].flatMap({ string($0, "version: column") }) else {
            fault(node, "version needs 'column'")
            return nil
        }
        var version = VersionDeclaration(column: column, node: node)
        version.equal = entries["equal"].flatMap { choice($0, "version: equal", of: VersionDeclaration.Equal.self) } ?? .last
        if let node = entries["null_payload"], let text = string(node, "version: null_payload") {
            version.nullPayloadNode = node
            switch text {
            case "skip": version.nullPayload = .skip
            case "timestamp": version.nullPayload = .timestamp
            case _ where text.hasPrefix("headers.") && text.utf8.count > "headers.".utf8.count:
                version.nullPayload = .header(String(text.dropFirst("headers.".count)))
            default: fault(node, "version: null_payload '\(text)' is not one of timestamp, headers.NAME, skip")
            }
        }
        return version
    }

    /// Compares a version with the columns.
    /// - Parameters:
    ///   - columns: those without faults.
    ///   - declared: the names of all columns.
    ///   - headers: the names of the headers that columns read.
    ///   - deletesByNull: records without payload delete rows.
    mutating func compile(
        _ version: VersionDeclaration, columns: [Column], declared: [String], key: [Int], headers: [String], deletesByNull: Bool
    ) -> CompiledVersion? {
        let node = version.node
        guard let position = columns.firstIndex(where: { $0.shape.name == version.column }) else {
            if !declared.contains(version.column) {
                let hint = MappingReader.suggestion(for: version.column, among: declared)
                fault(node, "version '\(version.column)' is not one of the columns" + hint)
            }
            return nil
        }
        let (column, subject) = (columns[position], "version: column \(version.column)")
        let (shape, before) = (column.shape, faults.count)
        if key.contains(position) { fault(node, "\(subject) is in the key, which is the same for all versions of a row") }
        if !RowVersion.types.contains(shape.type) || shape.isArray || shape.cast != nil {
            let words = RowVersion.types.map(\.rawValue).joined(separator: ", ")
            fault(node, "\(subject) must have one of the types \(words), without a cast")
        }
        if shape.isOptional || shape.isNullable {
            fault(node, "\(subject) cannot be optional or nullable: every event has a version")
        }
        if shape.policy != ColumnPolicy() { fault(node, "\(subject) cannot have on, if_null or merge") }
        let own: VersionDeclaration.NullPayload?
        switch column.source {
        case .field: own = nil
        case .timestamp: own = .timestamp
        case .header(let index): own = .header(headers[index])
        case .fixed, .offset, .key, .event:
            own = nil
            fault(node, "\(subject) needs a path, an event_path, metadata timestamp or metadata headers.NAME")
        }
        let nullPayload = version.nullPayload ?? own
        if case .timestamp? = version.nullPayload, ![.timestamp, .timestamptz].contains(shape.type) {
            fault(
                version.nullPayloadNode ?? node,
                "version: null_payload: timestamp needs a column of type timestamp or timestamptz, not \(shape.typeName)")
        }
        if deletesByNull, nullPayload == nil {
            fault(
                node,
                "a record with a null payload deletes the row of its key, and needs a version for that: add null_payload: "
                    + "headers.NAME or timestamp, or null_payload: skip where such records delete nothing (as Debezium's, which "
                    + "follow a delete event), or kafka_key: none")
        }
        guard faults.count == before else { return nil }
        return CompiledVersion(
            shape: RowVersion(column: position, keepsFirst: version.equal == .first), nullPayload: nullPayload)
    }
}

extension CompiledVersion {
    /// What the plan does with a record without payload.
    /// - Parameters:
    ///   - step: the column's step.
    ///   - headers: the names of the headers that the mapping reads; that of the version is added.
    func nullPayload(_ step: ColumnStep, headers: inout [String]) -> NullPayload? {
        let source: ColumnSource
        switch nullPayload {
        case nil: return nil
        case .skip: return .skipped
        case .timestamp: source = .timestamp
        case .header(let name):
            if !headers.contains(name) { headers.append(name) }
            source = .header(headers.firstIndex(of: name) ?? -1)
        }
        return .versioned(
            column: shape.column,
            step: ColumnStep(
                source: source, codec: step.codec, isOptional: false, isNullable: false, keyPosition: -1, isInDeletes: true))
    }
}
