// Compiles the conditions of a mapping file: `where`.

import Records
import Settings

/// One condition of a mapping file, before slots are assigned.
struct ConditionDeclaration {
    enum Source {
        case field(JSONPointer)
        /// The name of a header.
        case header(String)
    }

    enum Test {
        case isOneOf([String])
        case exists(Bool)
    }

    let source: Source
    let test: Test

    /// It looks at the event, and not at a header.
    var isOnField: Bool { if case .field = source { true } else { false } }

    /// - Parameter headers: the names of the headers that the mapping reads; names of conditions are added.
    static func compile(_ declared: [ConditionDeclaration], _ layout: SlotTree.Layout, headers: inout [String]) -> Conditions {
        var words: [String] = []
        let steps = declared.map { condition -> ConditionStep in
            let test: ConditionStep.Test
            switch condition.test {
            case .exists(let wanted): test = .exists(wanted)
            case .isOneOf(let texts):
                test = .isOneOf(first: words.count, count: texts.count)
                words += texts
            }
            switch condition.source {
            case .field(let pointer): return ConditionStep(slot: layout.slots[pointer] ?? -1, header: -1, test: test)
            case .header(let name):
                if !headers.contains(name) { headers.append(name) }
                return ConditionStep(slot: -1, header: headers.firstIndex(of: name) ?? -1, test: test)
            }
        }
        return Conditions(steps, words: words)
    }
}

extension MappingCompiler {
    /// Reads the conditions and inserts their fields into the tree.
    mutating func conditions(_ node: YAMLNode) -> [ConditionDeclaration] {
        guard let elements = node.sequence else {
            if node.mapping != nil { return [condition(node)].compactMap { $0 } }
            reader.fault(node, "where must be a list of conditions, such as '- {path: /kind, equals: order}'")
            return []
        }
        if elements.isEmpty { reader.fault(node, "where must not be empty") }
        return elements.compactMap { condition($0) }
    }

    private mutating func condition(_ node: YAMLNode) -> ConditionDeclaration? {
        let (places, tests) = (MappingKeys.places.names, MappingKeys.tests.names)
        guard let entries = reader.entries(of: node, in: "a condition of where", known: places + tests) else { return nil }
        guard places.filter({ entries[$0] != nil }).count == 1, tests.filter({ entries[$0] != nil }).count == 1 else {
            reader.fault(
                node,
                "a condition of where needs one of \(places.joined(separator: ", ")) and one of \(tests.joined(separator: ", "))")
            return nil
        }
        var source: ConditionDeclaration.Source?
        if let header = entries["header"] {
            source = reader.string(header, "where: header").map { .header($0) }
        } else if let path = entries["path"] ?? entries["event_path"] {
            let pointer = ColumnCompiler.pointer(path, reader: &reader, in: entries["path"] != nil ? tree : nil)
            if let pointer { tree.insertForCondition(pointer) }
            source = pointer.map { .field($0) }
        }
        var test: ConditionDeclaration.Test?
        if let exists = entries["exists"] {
            test = reader.flag(exists, "where: exists").map { .exists($0) }
        } else if let equals = entries["equals"] {
            test = reader.string(equals, "where: equals").map { .isOneOf([$0]) }
        } else if let list = entries["in"] {
            test = reader.strings(list, "where: in").map { .isOneOf($0.map(\.text)) }
        }
        guard let source, let test else { return nil }
        return ConditionDeclaration(source: source, test: test)
    }
}
