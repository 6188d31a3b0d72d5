// Owns what all transactions of a table share: its shape, its strategy and the texts of its statements.

public import Records

/// How one table is written, as long as its schema does not change. Used by all lanes.
public final class WritePlan: Sendable {
    /// Bytes of the longest key that is coalesced. A B-tree refuses entries of about a third of a page (2,704 bytes), and coalescing must
    /// not hide an event that is refused.
    static let longestCoalescedKey = 1_024

    /// The mapping's table.
    public let shape: TableShape
    /// What the catalog says about the table.
    public let schema: TableSchema
    /// The strategy, with its reasons.
    public let choice: StrategyChoice
    let presence: Presence
    /// An INSERT first looks whether the row is there. Without that, `ON CONFLICT` proposes rows that exist, too: a column that they need
    /// may be missing in the event, a BEFORE INSERT trigger would run for them, and their defaults would use up a short sequence. Nor does
    /// `ON CONFLICT` know a mapping's policies for updates.
    let insertsLookUp: Bool
    /// The same of rows that have all optional columns.
    let completeInsertsLookUp: Bool
    /// A sequence in which an event lacks one of these columns is not coalesced: its INSERT may be refused, which a later event of the key
    /// must not hide. Positions in ``TableShape/columns``.
    let requiredColumns: [Int]
    /// Upserts whose rows lack values are one MERGE, and not an UPDATE and an INSERT. Of concurrent changes by others MERGE sees less than
    /// `ON CONFLICT`: a row that comes meanwhile refuses the transaction, which is repeated. Where triggers, rules or policies run, what
    /// runs for whom would differ, too.
    let hasMerge: Bool
    /// An inserted and then updated row differs from an inserted one: `on_update` sets other values than the defaults.
    let onUpdateDiffersFromDefault: Bool
    /// What is checked of every event before it is written.
    let limits: TableLimits
    let function: SequentialFunction
    let texts: StatementTexts
    /// `nil`: the table has no version.
    let versionGuard: VersionGuard?
    private let statements: [StatementKey: SetStatement]

    /// Chooses the strategy for a table.
    /// - Throws: `ApplyError` where table and mapping do not fit.
    public init(_ shape: TableShape, schema: TableSchema) throws(ApplyError) {
        let faults = schema.faults(shape)
        if !faults.isEmpty { throw ApplyError(table: schema.relation, faults) }
        self.shape = shape
        self.schema = schema
        choice = schema.chooseStrategy(for: shape)
        onUpdateDiffersFromDefault = !schema.onUpdateEqualsDefault(shape)
        let texts = RowTexts(shape: shape, schema: schema)
        presence = texts.presence
        func looksUp(isComplete: Bool) -> Bool {
            shape.mode != .append
                && (shape.hasPolicies || schema.insertsMayLackColumns(shape, isComplete: isComplete)
                    || schema.triggers.contains(where: \.isBeforeRowInsert)
                    || schema.insertsUseShortSequence(shape, isComplete: isComplete))
        }
        insertsLookUp = looksUp(isComplete: false)
        completeInsertsLookUp = looksUp(isComplete: true)
        limits = TableLimits(shape, schema)
        requiredColumns = schema.requiredOptionalColumns(shape)
        hasMerge =
            choice.strategy == .coalesce && texts.presence.words > 0 && shape.version == nil && schema.serverHasMerge
            && schema.kind == .table
            && !schema.isInherited
            && schema.rules.isEmpty && schema.triggers.isEmpty && !schema.hasRowSecurity
        let hasInsertTriggers = schema.triggers.contains(where: \.isBeforeRowInsert)
        let setTexts = StatementTexts(
            texts: texts, insertsLookUp: insertsLookUp,
            // With a version its guard finds what was missed.
            insertsAreExact: !hasInsertTriggers && shape.deletion.isEmpty && shape.version == nil)
        self.texts = setTexts
        versionGuard = VersionGuard(texts)
        statements = Dictionary(
            uniqueKeysWithValues: StatementKind.allCases.filter { shape.mode == .append ? $0 == .append : $0 != .append }
                .flatMap { kind in
                    [false, true].map { StatementKey(kind: kind, setsOnUpdate: $0) }.map { ($0, setTexts.statement($0)) }
                })
        function = SequentialFunction(
            SequentialWriter(
                texts: texts, usesArbiter: schema.rules.isEmpty,
                insertsAreExact: !hasInsertTriggers,
                updateGroups: schema.updateGroups(shape),
                remembersRow: shape.mode != .append && shape.version == nil && schema.kind == .table && !schema.isInherited
                    && schema.rules.isEmpty && schema.isReadable))
    }

    var strategy: WriteStrategy { choice.strategy }

    /// The statement for rows of one kind.
    func statement(_ key: StatementKey) -> SetStatement {
        guard let statement = statements[key] else { preconditionFailure("a table of mode \(shape.mode) has no \(key.kind)") }
        return statement
    }

    /// Several statements as one; see ``StatementTexts/combined(_:)``.
    func combined(_ keys: [StatementKey]) -> (sql: String, parts: [SetStatement]) { texts.combined(keys) }
}
