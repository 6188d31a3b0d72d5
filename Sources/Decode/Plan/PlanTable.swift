// Owns the plan's tables as plain memory: read per record without a reference count, and by C.

import CSimdjson

/// A fixed run of plain values that stays where it is for as long as the table lives.
final class PlanTable<Element: BitwiseCopyable & Sendable>: @unchecked Sendable {
    // Licence for @unchecked: written in init only; afterwards it is memory that everyone may read.

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

/// Names that C compares with.
final class NameTable: Sendable {
    private let bytes: PlanTable<CChar>
    private let table: PlanTable<Name>

    /// Licence for @unchecked: the bytes behind it belong to its table, which nobody writes to.
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

    /// One a text, in their order.
    var names: UnsafePointer<sj_name> { UnsafeRawPointer(table.start).assumingMemoryBound(to: sj_name.self) }
    var count: Int { table.count }
}
