// Owns turning a sequence of events into statements with their parameters, by the table's strategy.

import Postgres
import Records

/// The statements that write a sequence, in order, and how many events folding left out.
struct BuiltStatements {
    var statements: [EncodedStatement] = []
    var superseded = 0
    /// One of the statements calls the table's function.
    var usesFunction = false
}

/// Builds statements for one table. A value per `prepare`; the texts are shared.
struct StatementBuilder {
    let plan: WritePlan
    let sequence: EventSequence
    let pool: ArrayPool
    let leastRoundRows: Int

    private var shape: TableShape { plan.shape }

    func build() -> BuiltStatements {
        guard sequence.count > 0 else { return BuiltStatements() }
        switch plan.strategy {
        case .fold where sequence.longestKey() <= WritePlan.longestFoldedKey: return fold()
        case .fold, .rounds: return shape.mode == .append ? append() : rounds()
        case .inOrder:
            return BuiltStatements(
                statements: [inOrder(ContiguousArray(0..<sequence.count), isolating: nil)], usesFunction: true)
        }
    }

    // MARK: Fold

    private func fold() -> BuiltStatements {
        sequence.sortByKey()
        var machine = FoldMachine(columns: shape.columns.count, mergesColumns: plan.optionalColumns != 0)
        var groups = RowGroups(capacity: sequence.runs.count)
        var superseded = 0
        for run in 0..<sequence.runs.count - 1 {
            let range = Int(sequence.runs[run])..<Int(sequence.runs[run + 1])
            for index in range {
                let position = Int(sequence.byKey[index])
                machine.read(sequence.events[position].operation, at: position) { sequence.isAbsent(position, $0) }
            }
            superseded += range.count - 1
            let net = machine.finish()
            let isTouched = net.insertIsTouched && plan.setsTouchOnInsert
            // Any event of the run names the key; a Delete needs no more.
            if net.deletesFirst {
                groups.append(
                    Int32(sequence.byKey[range.lowerBound]), to: StatementKey(kind: .delete, absent: 0, isTouched: false))
            }
            if let update = net.update, update == net.insert {
                groups.append(row(update), to: key(.upsert, update, isTouched, machine.mergedRows))
                continue
            }
            if let update = net.update { groups.append(row(update), to: key(.update, update, false, machine.mergedRows)) }
            if let insert = net.insert { groups.append(row(insert), to: key(.insert, insert, isTouched, machine.mergedRows)) }
        }
        return BuiltStatements(statements: encode(groups, merged: machine.mergedRows), superseded: superseded)
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
        _ kind: StatementKind, _ source: RowSource, _ isTouched: Bool, _ merged: ContiguousArray<Int32>
    ) -> StatementKey {
        StatementKey(kind: kind, absent: plan.optionalColumns == 0 ? 0 : absent(row(source), merged), isTouched: isTouched)
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

    private func append() -> BuiltStatements {
        var groups = RowGroups(capacity: sequence.count)
        for position in 0..<sequence.count where sequence.events[position].operation != .delete {
            let row = Int32(position)
            groups.append(row, to: StatementKey(kind: .append, absent: absent(row, []), isTouched: false))
        }
        return BuiltStatements(statements: encode(groups, merged: []))
    }

    private func rounds() -> BuiltStatements {
        sequence.sortByKey()
        let tailRound = firstSmallRound()
        var rounds = [RowGroups](repeating: RowGroups(capacity: 64), count: tailRound)
        var inTail = ContiguousArray(repeating: false, count: sequence.count)
        var tailCount = 0
        for run in 0..<sequence.runs.count - 1 {
            let start = Int(sequence.runs[run])
            var isTail = false
            for index in start..<Int(sequence.runs[run + 1]) {
                let position = Int(sequence.byKey[index])
                let absent = plan.optionalColumns == 0 ? 0 : absent(Int32(position), [])
                let operation = sequence.events[position].operation
                // INSERT … ON CONFLICT refuses a row without a required column even where it would find its row present.
                let insertsIncomplete = absent & plan.requiredColumns != 0 && (operation == .create || operation == .upsert)
                if isTail || index - start >= tailRound || insertsIncomplete {
                    isTail = true
                    inTail[position] = true
                    tailCount += 1
                } else {
                    let isDelete = operation == .delete
                    rounds[index - start].append(
                        Int32(position),
                        to: StatementKey(kind: Self.kind(operation), absent: isDelete ? 0 : absent, isTouched: false))
                }
            }
        }
        var built = BuiltStatements()
        for round in rounds { built.statements += encode(round, merged: []) }
        if tailCount > 0 {
            built.statements.append(inOrder(ContiguousArray((0..<sequence.count).filter { inTail[$0] }), isolating: nil))
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

    /// The first round, but never the very first, with too few rows to be worth statements of its own.
    private func firstSmallRound() -> Int {
        // sizes[n]: keys with exactly n + 1 events, then keys with more than n.
        var sizes: [Int] = []
        for run in 0..<sequence.runs.count - 1 {
            let length = Int(sequence.runs[run + 1] - sequence.runs[run])
            if length > sizes.count { sizes += Array(repeating: 0, count: length - sizes.count) }
            sizes[length - 1] += 1
        }
        for round in sizes.indices.dropLast().reversed() { sizes[round] += sizes[round + 1] }
        return max(1, sizes.firstIndex { $0 < leastRoundRows } ?? sizes.count)
    }

    // MARK: Parameters

    private func encode(_ groups: RowGroups, merged: ContiguousArray<Int32>) -> [EncodedStatement] {
        groups.inExecutionOrder.map { group in
            let statement = plan.statement(groups.keys[group])
            var writer = ParameterWriter(pool)
            let columns = statement.columns
            // Row by row, because in key order every row is far from the last one in memory: it is fetched once for all its columns.
            writer.arrays(columns.map { shape.columns[$0].type.oid }) { arrays in
                for row in groups.rows[group] {
                    if merged.isEmpty {
                        sequence.withEvent(Int(row)) { batch, change in
                            for index in columns.indices {
                                let cell = batch.cell(change: change, column: columns[index])
                                arrays[index].pointee.append(batch.value(cell))
                            }
                        }
                    } else {
                        for index in columns.indices {
                            let column = columns[index]
                            sequence.withCell(source(row, column, merged), column) { arrays[index].pointee.append($1) }
                        }
                    }
                }
            }
            return writer.finish(statement.sql, prepared: statement.plansEachTime ? nil : statement.prepared)
        }
    }

    /// The call that applies events one after the other. `isolating`: what counts as refused; `nil` refuses the whole statement.
    func inOrder(
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
        for column in shape.columns.indices {
            writer.array(shape.columns[column].type.oid) { array in
                for position in positions { sequence.withCell(position, column) { array.append($1) } }
            }
        }
        return writer.finish(plan.function.call.sql, prepared: plan.function.call)
    }
}
