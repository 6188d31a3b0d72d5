// Owns which event of a key's run decides where the table has a version.

import Records

/// What the events of one key amount to, in this order: a Delete of rows that it is newer than; then the newest event.
struct NewestEvent: Equatable {
    /// The position of the newest event.
    let position: Int
    /// The position of the newest Delete that was the newest event when it came. Columns that the mapping does not name are lost with it.
    let removal: Int?
}

/// Finds the newest event of a run. Pure.
struct VersionMachine: ~Copyable {
    private let keepsFirst: Bool
    private var newest: (position: Int, version: Int64)?
    private var removal: Int?

    /// - Parameter keepsFirst: of events with equal versions the first wins, and not the last.
    init(keepsFirst: Bool) { self.keepsFirst = keepsFirst }

    /// The next event of the run has been read.
    @inline(__always)
    mutating func read(_ operation: Operation, version: Int64, at position: Int) {
        if let newest, keepsFirst ? version <= newest.version : version < newest.version { return }
        newest = (position, version)
        if operation == .delete { removal = position }
    }

    /// The run has ended. The machine is ready for the next one.
    /// - Returns: `nil` where the run had no event.
    @inline(__always)
    mutating func finish() -> NewestEvent? {
        defer { (newest, removal) = (nil, nil) }
        return newest.map { NewestEvent(position: $0.position, removal: removal) }
    }
}
