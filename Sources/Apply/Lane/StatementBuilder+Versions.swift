// Owns what is different for a table with a version: which events of a key count, and what is checked before COMMIT.

import Postgres
import Records

/// The rows of ``VersionGuard``'s check, and which locks the transaction takes for it.
struct VersionCheck {
    let statement: EncodedStatement
    /// The transaction deletes rows, or tries to.
    let hasDeletes: Bool
    /// The transaction is written alone from its beginning. Where an event is an UPDATE and an INSERT, another session's row may come in
    /// between, and the event is lost. The check sees that of a key's newest event only.
    var mustBeAlone = false
}

extension StatementBuilder {
    /// For each key its newest event, after the newest Delete before it; see ``VersionMachine``.
    func coalesced(_ version: RowVersion) -> CoalescedRows {
        let keys = sequence.sortByKey()
        var machine = VersionMachine(keepsFirst: version.keepsFirst)
        var rows = CoalescedRows(groups: RowGroups(capacity: keys.count), superseded: sequence.count - keys.count)
        rows.newest.reserveCapacity(keys.count)
        for run in 0..<keys.count {
            guard let newest = newest(of: keys, run, &machine, version) else { continue }
            let row = Int32(newest.position)
            rows.newest.append(row)
            if let removal = newest.removal { rows.groups.append(Int32(removal), to: StatementKey(kind: .delete)) }
            if newest.removal == newest.position { continue }
            if isOneStatement(row, []) {
                rows.groups.append(row, to: StatementKey(kind: .upsert))
            } else {
                rows.groups.append(row, to: StatementKey(kind: .update))
                rows.groups.append(row, to: StatementKey(kind: .insert))
            }
        }
        return rows
    }

    /// The newest event of a key, of those that `isIncluded`.
    @inline(__always)
    private func newest(
        of keys: KeyRuns, _ run: Int, _ machine: inout VersionMachine, _ version: RowVersion,
        where isIncluded: (Int) -> Bool = { _ in true }
    ) -> NewestEvent? {
        for index in keys[run] {
            let position = Int(keys.positions[index])
            if isIncluded(position) {
                machine.read(
                    sequence.events[position].operation, version: sequence.int8(of: position, version.column), at: position)
            }
        }
        return machine.finish()
    }

    /// The check of all events that were not refused, one way or another; `nil`: the table has no version.
    /// - Parameters:
    ///   - sorted: the sequence's keys, where they are known.
    ///   - refused: positions of the events that SQL has refused.
    func versionCheck(_ sorted: KeyRuns? = nil, without refused: Set<Int> = []) -> VersionCheck? {
        guard let version = shape.version else { return nil }
        let keys = sorted ?? sequence.sortByKey()
        var machine = VersionMachine(keepsFirst: version.keepsFirst)
        var rows: ContiguousArray<Int32> = []
        rows.reserveCapacity(keys.count)
        for run in 0..<keys.count {
            let newest = newest(of: keys, run, &machine, version) { !refused.contains($0) }
            if let newest { rows.append(Int32(newest.position)) }
        }
        var check = versionCheck(rows, isThorough: true)
        let isOneStatement = plan.strategy == .rounds && !plan.completeInsertsLookUp && plan.presence.words == 0
        check?.mustBeAlone = keys.count < sequence.count && !isOneStatement
        return check
    }

    /// The check of these events.
    func versionCheck(_ rows: ContiguousArray<Int32>, isThorough: Bool) -> VersionCheck? {
        guard let version = shape.version, let guarding = plan.versionGuard else { return nil }
        var key = ByteBuffer()
        var writer = ParameterWriter(pool)
        writer.arrays(guarding.parameters) { arrays in
            let first = guarding.columns.count
            for row in rows {
                let position = Int(row)
                for (index, column) in guarding.columns.enumerated() {
                    sequence.withCell(position, column) { arrays[index].pointee.append($1) }
                }
                appendVersion(version, of: position, &key, to: arrays[first...])
                arrays[first + 2].pointee.append(UInt8(sequence.events[position].operation == .delete ? 1 : 0))
            }
        }
        return VersionCheck(
            statement: writer.finish(planned: isThorough ? guarding.thoroughCheck : guarding.check, rowCount: .none),
            hasDeletes: sequence.events.contains { $0.operation == .delete })
    }

    /// Appends an event's key and version to the first two of `arrays`. `key` is memory to write the key in.
    @inline(__always)
    func appendVersion(
        _ version: RowVersion, of position: Int, _ key: inout ByteBuffer,
        to arrays: Swift.Slice<UnsafeBufferPointer<UnsafeMutablePointer<BinaryArray>>>
    ) {
        sequence.writeTombstoneKey(of: position, to: &key)
        arrays[arrays.startIndex].pointee.append(key.bytes)
        arrays[arrays.startIndex + 1].pointee.append(sequence.int8(of: position, version.column))
    }
}
