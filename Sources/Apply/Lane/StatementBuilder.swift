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
    /// What must hold before COMMIT, where the table has a version: see ``VersionGuard``.
    var versionCheck: VersionCheck?

    /// The memory of all parameters.
    var arrays: [ParameterArray] { statements.flatMap(\.arrays) + (versionCheck?.statement.arrays ?? []) }
}

/// Builds the statements of one sequence of events.
struct StatementBuilder {
    let plan: WritePlan
    let sequence: EventSequence
    let pool: ArrayPool
    let leastRoundRows: Int
    /// The number of the sequence's first event, by which the sequential function knows it. No two events of a transaction have the same.
    var firstNumber = 0

    var shape: TableShape { plan.shape }

    func build() -> BuiltStatements {
        guard sequence.count > 0 else { return BuiltStatements() }
        switch plan.strategy {
        case .coalesce where mayCoalesce:
            if let version = shape.version { return encode(coalesced(version), isChecked: true) }
            return encode(coalesced())
        case .coalesce, .rounds:
            if shape.mode == .append { return BuiltStatements(statements: encode(append(), merged: [])) }
            let keys = sequence.sortByKey()
            var built = encode(rounds(keys, upTo: firstSmallRound(keys))) { encode($0, merged: []) }
            built.versionCheck = versionCheck(keys)
            return built
        case .sequential:
            return BuiltStatements(
                statements: sequential(ContiguousArray(0..<sequence.count), isolating: nil), usesFunction: true,
                versionCheck: versionCheck())
        }
    }

    /// The same effect with fewer statements, for a range that may be refused: a round is one statement, and rounds beyond the limit are
    /// written by the sequential function. `nil`: more than `limit` statements are needed.
    func build(atMost limit: Int) -> BuiltStatements? {
        guard sequence.count > 0 else { return BuiltStatements() }
        switch plan.strategy {
        case .coalesce where mayCoalesce:
            let rows = shape.version.map { coalesced($0) } ?? coalesced()
            return rows.groups.keys.count <= limit ? encode(rows) : nil
        case .coalesce, .rounds:
            var rounds = Rounds(rounds: [])
            if shape.mode == .append {
                rounds.rounds = [append()]
            } else {
                let keys = sequence.sortByKey()
                rounds = self.rounds(keys, upTo: firstSmallRound(keys))
                if rounds.statements > limit, limit > 2 { rounds = self.rounds(keys, upTo: limit - 2) }
            }
            return rounds.statements > limit ? nil : encode(rounds, encodeCombined)
        case .sequential: return nil
        }
    }

    // MARK: Coalesce

    /// No event of the sequence may be refused by itself.
    private var mayCoalesce: Bool {
        sequence.longestKey() <= WritePlan.longestCoalescedKey && !sequence.lacksAny(of: plan.requiredColumns)
    }

    /// Net changes by statement. `merged`: see ``CoalesceMachine/mergedRows``.
    struct CoalescedRows {
        var groups: RowGroups
        var merged: ContiguousArray<Int32> = []
        var superseded: Int
        /// With a version: the newest event of each key.
        var newest: ContiguousArray<Int32> = []
    }

    private func encode(_ rows: CoalescedRows, isChecked: Bool = false) -> BuiltStatements {
        BuiltStatements(
            statements: encode(rows.groups, merged: rows.merged), superseded: rows.superseded,
            versionCheck: isChecked ? versionCheck(rows.newest, isThorough: plan.insertsLookUp) : nil)
    }

    private func coalesced() -> CoalescedRows {
        let keys = sequence.sortByKey()
        var machine = CoalesceMachine(columns: shape.columns.count, mergesColumns: plan.presence.words > 0)
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
            if net.deletesFirst { groups.append(Int32(keys.positions[range.lowerBound]), to: StatementKey(kind: .delete)) }
            if let update = net.update, update == net.insert {
                let isOne = isOneStatement(row(update), machine.mergedRows)
                if isOne || plan.hasMerge {
                    groups.append(row(update), to: StatementKey(kind: isOne ? .upsert : .merge, setsOnUpdate: setsOnUpdate))
                    continue
                }
            }
            if let update = net.update { groups.append(row(update), to: StatementKey(kind: .update)) }
            if let insert = net.insert {
                let kind = net.update == nil ? StatementKind.insert : .insertNotUpdated
                groups.append(row(insert), to: StatementKey(kind: kind, setsOnUpdate: setsOnUpdate))
            }
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

    /// Whether an Upsert of the row is one statement. `ON CONFLICT DO UPDATE` does not know which values the event had, and proposes a
    /// row that may be refused although it is there; then it is an update and an insert, of which one finds nothing to do.
    func isOneStatement(_ row: Int32, _ merged: ContiguousArray<Int32>) -> Bool {
        !plan.completeInsertsLookUp && plan.presence.columns.allSatisfy { !sequence.isAbsent(source(row, $0, merged), $0) }
    }

    @inline(__always)
    private func source(_ row: Int32, _ column: Int, _ merged: ContiguousArray<Int32>) -> Int {
        row >= 0 ? Int(row) : Int(merged[Int(~row) * shape.columns.count + column])
    }

    // MARK: Rounds

    private func append() -> RowGroups {
        var groups = RowGroups(capacity: sequence.count)
        for position in 0..<sequence.count where sequence.events[position].operation != .delete {
            groups.append(Int32(position), to: StatementKey(kind: .append))
        }
        return groups
    }

    /// Events by round, and the positions of those that the sequential function writes after all rounds.
    private struct Rounds {
        var rounds: [RowGroups]
        /// In the order of the keys, each key's in log order.
        var tail: ContiguousArray<Int> = []
        /// Statements, where a round is one.
        var statements: Int { rounds.count + (tail.isEmpty ? 0 : 2) }
    }

    private func rounds(_ keys: KeyRuns, upTo tailRound: Int) -> Rounds {
        var built = Rounds(rounds: [RowGroups](repeating: RowGroups(capacity: 64), count: tailRound))
        let hasVersion = shape.version != nil
        for run in 0..<keys.count {
            let range = keys[run]
            for index in range {
                let position = Int(keys.positions[index])
                let round = index - range.lowerBound
                guard round < tailRound else {
                    built.tail.append(position)
                    continue
                }
                let row = Int32(position)
                let operation = sequence.events[position].operation
                // With a version each of the others says what the row is.
                switch hasVersion && operation != .delete ? .upsert : operation {
                case .create: built.rounds[round].append(row, to: StatementKey(kind: .insert))
                case .update: built.rounds[round].append(row, to: StatementKey(kind: .update))
                case .delete: built.rounds[round].append(row, to: StatementKey(kind: .delete))
                case .upsert where isOneStatement(row, []): built.rounds[round].append(row, to: StatementKey(kind: .upsert))
                case .upsert:
                    built.rounds[round].append(row, to: StatementKey(kind: .update))
                    built.rounds[round].append(row, to: StatementKey(kind: .insertNotUpdated))
                }
            }
        }
        return built
    }

    private func encode(_ rounds: Rounds, _ encode: (RowGroups) -> [EncodedStatement]) -> BuiltStatements {
        var built = BuiltStatements(statements: rounds.rounds.flatMap(encode))
        if !rounds.tail.isEmpty {
            built.statements += sequential(rounds.tail, isolating: nil)
            built.usesFunction = true
        }
        return built
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
        return min(max(1, sizes.firstIndex { $0 < leastRoundRows } ?? sizes.count), ApplyConfiguration.mostRounds)
    }

    // MARK: Parameters

    /// A statement for each group.
    private func encode(_ groups: RowGroups, merged: ContiguousArray<Int32>) -> [EncodedStatement] {
        groups.inExecutionOrder.map { group in
            let statement = plan.statement(groups.keys[group])
            var writer = ParameterWriter(pool)
            write(groups.rows[group], statement, merged, to: &writer)
            return statement.plansEachTime ? writer.finish(planned: statement.sql) : writer.finish(statement.prepared)
        }
    }

    /// One statement for all groups of a round; none for an empty round.
    private func encodeCombined(_ groups: RowGroups) -> [EncodedStatement] {
        if groups.keys.count < 2 { return encode(groups, merged: []) }
        let order = groups.inExecutionOrder
        let statement = plan.combined(order.map { groups.keys[$0] })
        var writer = ParameterWriter(pool)
        for (group, part) in zip(order, statement.parts) { write(groups.rows[group], part, [], to: &writer) }
        return [writer.finish(planned: statement.sql, rowCount: .lastRow([0]))]
    }

    private func write(
        _ rows: ContiguousArray<Int32>, _ statement: SetStatement, _ merged: ContiguousArray<Int32>,
        to writer: inout ParameterWriter
    ) {
        let columns = statement.columns
        let types =
            columns.map { shape.columns[$0].wireType.oid } + Array(repeating: TypeOID.int8, count: statement.presenceWords)
            + (statement.hasVersion ? [TypeOID.bytea, TypeOID.int8] : [])
        let version = shape.version
        var key = ByteBuffer()
        // Row by row, because a row's values are neighbours in memory.
        writer.arrays(types) { arrays in
            for row in rows {
                for (index, column) in columns.enumerated() {
                    sequence.withCell(source(row, column, merged), column) { arrays[index].pointee.append($1) }
                }
                for word in 0..<statement.presenceWords {
                    arrays[columns.count + word].pointee.append(presence(row, word, merged))
                }
                if let version { appendVersion(version, of: Int(row), &key, to: arrays[(types.count - 2)...]) }
            }
        }
    }

    /// One word of a row's presence; see ``Presence``.
    private func presence(_ row: Int32, _ word: Int, _ merged: ContiguousArray<Int32>) -> UInt64 {
        var bits: UInt64 = 0
        for (bit, column) in plan.presence.columns(ofWord: word).enumerated()
        where !sequence.isAbsent(source(row, column, merged), column) { bits |= 1 << UInt64(bit) }
        return bits
    }

    /// The statements that fill the table of the sequential function and call it, which applies the events in the order of `positions`.
    /// - Parameter refusals: the errors that refuse an event, which is then known by its position, so these are a range; `nil`: any error
    ///   fails the statement.
    func sequential(
        _ positions: ContiguousArray<Int>, isolating refusals: Refusals?
    ) -> [EncodedStatement] {
        guard let first = positions.first else { return [] }
        let start = firstNumber + (refusals == nil ? 0 : first)
        let columns = shape.columns.map(\.wireType.oid)
        let words = Array(repeating: TypeOID.int8, count: plan.presence.words)
        let version = shape.version
        let versions = version == nil ? [] : [TypeOID.bytea, TypeOID.int8]
        var key = ByteBuffer()
        var fill = ParameterWriter(pool)
        fill.arrays([TypeOID.int4, TypeOID.int2] + columns + words + versions) { arrays in
            for (index, position) in positions.enumerated() {
                arrays[0].pointee.append(Int32(start + index))
                arrays[1].pointee.append(Int16(sequence.events[position].operation.rawValue))
                for column in columns.indices { sequence.withCell(position, column) { arrays[2 + column].pointee.append($1) } }
                for word in words.indices { arrays[2 + columns.count + word].pointee.append(presence(Int32(position), word, [])) }
                if let version { appendVersion(version, of: position, &key, to: arrays[(arrays.count - 2)...]) }
            }
        }
        var call = ParameterWriter(pool)
        call.int4(Int32(start))
        call.int4(Int32(start + positions.count - 1))
        call.bool(refusals != nil)
        call.texts(refusals?.states ?? [])
        call.texts(refusals?.otherStates ?? [])
        call.texts(refusals?.classes ?? [])
        call.texts(refusals?.waiting ?? [])
        call.texts(refusals?.constraints ?? [])
        return [
            fill.finish(planned: plan.function.fill, rowCount: .none),
            call.finish(plan.function.call, rowCount: SequentialFunction.rowCount),
        ]
    }
}
