// Owns the plan's tables as plain memory, which C can read, and Swift without counting references.

import CSimdjson

/// A fixed array of plain values at a stable address.
final class PlanTable<Element: BitwiseCopyable & Sendable>: @unchecked Sendable {
    // Licence for @unchecked: written in init only, and read-only afterwards.

    let start: UnsafePointer<Element>
    let count: Int

    init(_ elements: [Element]) {
        let memory = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        memory.initialize(from: elements, count: elements.count)
        start = UnsafePointer(memory)
        count = elements.count
    }

    deinit { start.deallocate() }
}

/// Names for csimdjson's comparisons.
final class NameTable: Sendable {
    private let bytes: PlanTable<CChar>
    private let table: PlanTable<Name>

    /// Licence for @unchecked: its bytes belong to its table and are never written.
    private struct Name: BitwiseCopyable, @unchecked Sendable {
        let name: sj_name
    }

    init(_ texts: [String]) {
        bytes = PlanTable(texts.flatMap { $0.utf8.map(CChar.init(bitPattern:)) })
        var next = bytes.start
        table = PlanTable(
            texts.map { text in
                defer { next += text.utf8.count }
                return Name(name: sj_name_of(next, text.utf8.count))
            })
    }

    /// One per text, in their order.
    var names: UnsafePointer<sj_name> { UnsafeRawPointer(table.start).assumingMemoryBound(to: sj_name.self) }
}
