// Owns turning a sequence of events into statements with their parameters, by the table's strategy.

import Postgres
import Records

/// The statements that write a sequence, in order of execution.
struct BuiltStatements {
    var statements: [EncodedStatement] = []
    /// Events that a later event of the same key replaced.
    var superseded = 0
    /// One of the statements calls the table's sequential function.
    var usesFunction = false
}

/// Builds the statements of one sequence of events.
struct StatementBuilder {
    let plan: WritePlan
    let sequence: EventSequence
    let pool: ArrayPool
    let leastRoundRows: Int

    /// Statements that may be combined into one, so that planning it stays cheap.
    private static let maxCombinedKinds = 16

    private var shape: TableShape { plan.shape }

    func build() -> BuiltStatements {
        guard sequence.count > 0 else { return BuiltStatements() }
        switch plan.strategy {
        case .coalesce where sequence.longestKey() <= WritePlan.longestCoalescedKey: return encode(coalesced())
        case .coalesce, .rounds:
            if shape.mode == .append { return BuiltStatements(statements: encode(append(), merged: [])) }
            let keys = sequence.sortByKey()
            return encode(rounds(keys, upTo: firstSmallRound(keys))) { encode($0, merged: []) }
        case .sequential:
            return BuiltStatements(
                statements: [sequential(ContiguousArray(0..<sequence.count), isolating: nil)], usesFunction: true)
        }
    }

    /// The same effect with fewer statements, for a range that may be refused: a round is one statement, and rounds beyond the limit are
    /// written by the sequential function. `nil`: more than `limit` statements are needed.
    func build(atMost limit: Int) -> BuiltStatements? {
        guard sequence.count > 0 else { return BuiltStatements() }
        switch plan.strategy {
        case .coalesce where sequence.longestKey() <= WritePlan.longestCoalescedKey:
            let rows = coalesced()
            return rows.groups.keys.count <= limit ? encode(rows) : nil
        case .coalesce, .rounds:
            var rounds = Rounds(rounds: [])
            if shape.mode == .append {
                rounds.rounds = [append()]
            } else {
                let keys = sequence.sortByKey()
                rounds = self.rounds(keys, upTo: firstSmallRound(keys))
                if rounds.statements > limit, limit > 1 { rounds = self.rounds(keys, upTo: limit - 1) }
            }
            if rounds.statements > limit || rounds.rounds.contains(where: { $0.keys.count > Self.maxCombinedKinds }) {
                return nil
            }
            return encode(rounds, encodeCombined)
        case .sequential: return nil
        }
    }

    // MARK: Coalesce

    /// Net changes by statement. `merged`: see ``CoalesceMachine/mergedRows``.
    private struct CoalescedRows {
        var groups: RowGroups
        var merged: ContiguousArray<Int32>
        var superseded: Int
    }

    private func encode(_ rows: CoalescedRows) -> BuiltStatements {
        BuiltStatements(statements: encode(rows.groups, merged: rows.merged), superseded: rows.superseded)
    }

    private func coalesced() -> CoalescedRows {
        let keys = sequence.sortByKey()
        var machine = CoalesceMachine(columns: shape.columns.count, mergesColumns: plan.optionalColumns != 0)
        var groups = RowGroups(capacity: keys.count)
        var superseded = 0
        for run in 0..<keys.count {
            let range = keys[run]
            for index in range {
                let position = Int(keys.positions[index])
                machine.read(sequence.events[position].operation, at: position) { sequence.isAbsent(position, $0) }
            }
            superseded += range.count - 1
            let net = machine.finish()
            let setsOnUpdate = net.insertWasUpdated && plan.onUpdateDiffersFromDefault
            // A Delete needs the key only, which every event of the run has.
            if net.deletesFirst {
                groups.append(
                    Int32(keys.positions[range.lowerBound]), to: StatementKey(kind: .delete, absent: 0, setsOnUpdate: false))
            }
            if let update = net.update, update == net.insert {
                groups.append(row(update), to: key(.upsert, update, setsOnUpdate, machine.mergedRows))
                continue
            }
            if let update = net.update { groups.append(row(update), to: key(.update, update, false, machine.mergedRows)) }
            if let insert = net.insert { groups.append(row(insert), to: key(.insert, insert, setsOnUpdate, machine.mergedRows)) }
        }
        return CoalescedRows(groups: groups, merged: machine.mergedRows, superseded: superseded)
    }

    @inline(__always)
    private func row(_ source: RowSource) -> Int32 {
        switch source {
        case .event(let position): Int32(position)
        case .merged(let row): ~Int32(row)
        }
    }

    @inline(__always)
    private func key(
        _ kind: StatementKind, _ source: RowSource, _ setsOnUpdate: Bool, _ merged: ContiguousArray<Int32>
    ) -> StatementKey {
        StatementKey(kind: kind, absent: plan.optionalColumns == 0 ? 0 : absent(row(source), merged), setsOnUpdate: setsOnUpdate)
    }

    /// Bit n: the row has no value for the n-th column.
    private func absent(_ row: Int32, _ merged: ContiguousArray<Int32>) -> UInt64 {
        var absent: UInt64 = 0
        for column in plan.optionalPositions
        where sequence.isAbsent(source(row, column, merged), column) { absent |= 1 << UInt64(column) }
        return absent
    }

    @inline(__always)
    private func source(_ row: Int32, _ column: Int, _ merged: ContiguousArray<Int32>) -> Int {
        row >= 0 ? Int(row) : Int(merged[Int(~row) * shape.columns.count + column])
    }

    // MARK: Rounds

    private func append() -> RowGroups {
        var groups = RowGroups(capacity: sequence.count)
        for position in 0..<sequence.count where sequence.events[position].operation != .delete {
            let row = Int32(position)
            groups.append(row, to: StatementKey(kind: .append, absent: absent(row, []), setsOnUpdate: false))
        }
        return groups
    }

    /// Events by round, and the positions of those that the sequential function writes after all rounds.
    private struct Rounds {
        var rounds: [RowGroups]
        var tail: ContiguousArray<Int> = []
        /// Statements, where a round is one.
        var statements: Int { rounds.count + (tail.isEmpty ? 0 : 1) }
    }

    private func rounds(_ keys: KeyRuns, upTo tailRound: Int) -> Rounds {
        var built = Rounds(rounds: [RowGroups](repeating: RowGroups(capacity: 64), count: tailRound))
        var inTail = ContiguousArray(repeating: false, count: sequence.count)
        var tailCount = 0
        for run in 0..<keys.count {
            let range = keys[run]
            var isTail = false
            for index in range {
                let position = Int(keys.positions[index])
                let absent = plan.optionalColumns == 0 ? 0 : absent(Int32(position), [])
                let operation = sequence.events[position].operation
                // INSERT … ON CONFLICT refuses a row without a required column even where the row exists.
                let insertsIncomplete = absent & plan.requiredColumns != 0 && (operation == .create || operation == .upsert)
                if isTail || index - range.lowerBound >= tailRound || insertsIncomplete {
                    isTail = true
                    inTail[position] = true
                    tailCount += 1
                } else {
                    let isDelete = operation == .delete
                    built.rounds[index - range.lowerBound].append(
                        Int32(position),
                        to: StatementKey(kind: Self.kind(operation), absent: isDelete ? 0 : absent, setsOnUpdate: false))
                }
            }
        }
        if tailCount > 0 { built.tail = ContiguousArray((0..<sequence.count).filter { inTail[$0] }) }
        return built
    }

    private func encode(_ rounds: Rounds, _ encode: (RowGroups) -> [EncodedStatement]) -> BuiltStatements {
        var built = BuiltStatements(statements: rounds.rounds.flatMap(encode))
        if !rounds.tail.isEmpty {
            built.statements.append(sequential(rounds.tail, isolating: nil))
            built.usesFunction = true
        }
        return built
    }

    private static func kind(_ operation: Operation) -> StatementKind {
        switch operation {
        case .create: .insert
        case .update: .update
        case .upsert: .upsert
        case .delete: .delete
        }
    }

    /// The first round after round 0 with fewer rows than are worth statements of their own.
    private func firstSmallRound(_ keys: KeyRuns) -> Int {
        // sizes[n]: keys with exactly n + 1 events, then keys with more than n.
        var sizes: [Int] = []
        for run in 0..<keys.count {
            let length = keys[run].count
            if length > sizes.count { sizes += Array(repeating: 0, count: length - sizes.count) }
            sizes[length - 1] += 1
        }
        for round in sizes.indices.dropLast().reversed() { sizes[round] += sizes[round + 1] }
        return max(1, sizes.firstIndex { $0 < leastRoundRows } ?? sizes.count)
    }

    // MARK: Parameters

    /// A statement for each group.
    private func encode(_ groups: RowGroups, merged: ContiguousArray<Int32>) -> [EncodedStatement] {
        groups.inExecutionOrder.map { group in
            let statement = plan.statement(groups.keys[group])
            var writer = ParameterWriter(pool)
            write(groups.rows[group], statement.columns, merged, to: &writer)
            return statement.plansEachTime ? writer.finish(planned: statement.sql) : writer.finish(statement.prepared)
        }
    }

    /// One statement for all groups of a round; none for an empty round.
    private func encodeCombined(_ groups: RowGroups) -> [EncodedStatement] {
        if groups.keys.count < 2 { return encode(groups, merged: []) }
        let order = groups.inExecutionOrder
        let statement = plan.combined(order.map { groups.keys[$0] })
        var writer = ParameterWriter(pool)
        for (group, columns) in zip(order, statement.columns) { write(groups.rows[group], columns, [], to: &writer) }
        return [writer.finish(planned: statement.sql, rowCount: .lastRow([0]))]
    }

    private func write(
        _ rows: ContiguousArray<Int32>, _ columns: [Int], _ merged: ContiguousArray<Int32>, to writer: inout ParameterWriter
    ) {
        // Row by row, because a row's values are neighbours in memory.
        writer.arrays(columns.map { shape.columns[$0].type.oid }) { arrays in
            for row in rows {
                for (index, column) in columns.enumerated() {
                    sequence.withCell(source(row, column, merged), column) { arrays[index].pointee.append($1) }
                }
            }
        }
    }

    /// The call of the sequential function. `isolating`: the errors that refuse an event; `nil`: any error fails the statement.
    func sequential(
        _ positions: ContiguousArray<Int>, isolating refusals: (states: [String], otherStates: [String], classes: [String])?
    ) -> EncodedStatement {
        var writer = ParameterWriter(pool)
        var partials: [UInt64: Int16] = [:]
        var masks: [UInt64] = []
        writer.array(TypeOID.int2) { array in
            for position in positions { array.append(Int16(sequence.events[position].operation.rawValue)) }
        }
        writer.array(TypeOID.int2) { array in
            for position in positions {
                let isDelete = sequence.events[position].operation == .delete
                let absent = isDelete || plan.optionalColumns == 0 ? 0 : absent(Int32(position), [])
                if absent != 0, partials[absent] == nil {
                    masks.append(absent)
                    partials[absent] = Int16(masks.count)
                }
                array.append(absent == 0 ? 0 : partials[absent, default: 0])
            }
        }
        let texts = masks.map { plan.partialStatements(absent: $0) }
        writer.texts(texts.map(\.insert))
        writer.texts(texts.map(\.update))
        writer.bool(refusals != nil)
        writer.texts(refusals?.states ?? [])
        writer.texts(refusals?.otherStates ?? [])
        writer.texts(refusals?.classes ?? [])
        writer.arrays(shape.columns.map(\.type.oid)) { arrays in
            for position in positions {
                for column in arrays.indices { sequence.withCell(position, column) { arrays[column].pointee.append($1) } }
            }
        }
        return writer.finish(plan.function.call, rowCount: SequentialFunction.rowCount)
    }
}
