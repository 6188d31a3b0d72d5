// The expected content of the table and its change capture, computed from the acknowledged events one at a time.

import Records

/// What is expected of one key. 24 bytes: a run over five million keys takes 120 MB.
struct KeyState: Sendable, Equatable {
    /// Number of the event whose texts the row has; `nil`: no row.
    var writer: UInt64? {
        get { writerPlusOne == 0 ? nil : writerPlusOne - 1 }
        set { writerPlusOne = newValue.map { $0 + 1 } ?? 0 }
    }
    /// Rows of the change capture.
    var captured = CaptureCounts()
    /// An event of the key may or may not have been applied, so the key cannot be compared.
    var isUncertain = false
    private var writerPlusOne: UInt64 = 0
}

/// Rows of the change capture by their type.
struct CaptureCounts: Sendable, Equatable, CustomStringConvertible {
    /// `INSERT`
    var inserts: UInt32 = 0
    /// `UPDATE`
    var updates: UInt32 = 0
    /// `DELETE`
    var deletes: UInt32 = 0

    /// All of them.
    var total: Int { Int(inserts) + Int(updates) + Int(deletes) }

    /// `1 INSERT, 0 UPDATE, 2 DELETE`
    var description: String { "\(inserts) INSERT, \(updates) UPDATE, \(deletes) DELETE" }
}

/// The expected state of every key of a run.
struct TableModel: ~Copyable, Sendable {
    private var states: ContiguousArray<KeyState>
    /// Keys whose row must be there, without the uncertain ones.
    private(set) var rowCount = 0
    /// Rows of the change capture there must be, without those of uncertain keys.
    private(set) var captureCount = 0
    /// Keys that cannot be compared.
    private(set) var uncertainCount = 0
    /// Events that were applied.
    private(set) var eventCount = 0

    /// An empty table for `keys` keys.
    init(keys: Int) { states = ContiguousArray(repeating: KeyState(), count: keys) }

    /// Number of keys.
    var keyCount: Int { states.count }

    /// What is expected of a key.
    @inline(__always)
    subscript(slot: Int) -> KeyState { states[slot] }

    /// Applies one event, as the table sees it when events come one at a time.
    @inline(__always)
    mutating func applied(_ operation: Operation, slot: Int32, index: UInt64) {
        eventCount += 1
        let slot = Int(slot)
        guard !states[slot].isUncertain else { return }
        let isPresent = states[slot].writer != nil
        switch (operation, isPresent) {
        case (.create, false), (.upsert, false):
            states[slot].writer = index
            states[slot].captured.inserts += 1
            rowCount += 1
            captureCount += 1
        case (.update, true), (.upsert, true):
            states[slot].writer = index
            states[slot].captured.updates += 1
            captureCount += 1
        case (.delete, true):
            states[slot].writer = nil
            states[slot].captured.deletes += 1
            rowCount -= 1
            captureCount += 1
        case (.create, true), (.update, false), (.delete, false):
            break
        }
    }

    /// An event of the key may or may not have been applied: the key cannot be compared any more.
    mutating func outcomeUnknown(slot: Int32) {
        let slot = Int(slot)
        guard !states[slot].isUncertain else { return }
        states[slot].isUncertain = true
        uncertainCount += 1
        captureCount -= states[slot].captured.total
        if states[slot].writer != nil { rowCount -= 1 }
    }
}
