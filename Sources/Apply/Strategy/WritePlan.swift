// Owns what all transactions of a table share: its shape, its strategy and the texts of its statements.

public import Records
import Synchronization

/// How one table is written. Made when partitions are claimed, used by all lanes.
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
    /// Bit n: the n-th column may be absent.
    let optionalColumns: UInt64
    let optionalPositions: [Int]
    /// Bit n: an inserted row needs the n-th column.
    let requiredColumns: UInt64
    /// An inserted and then updated row differs from an inserted one: `on_update` sets other values than the defaults.
    let onUpdateDiffersFromDefault: Bool
    let function: SequentialFunction
    private let texts: StatementTexts
    private let writer: SequentialWriter
    private let statements = Mutex<[StatementKey: SetStatement]>([:])

    /// Chooses the strategy for a table.
    /// - Throws: `ApplyError` where table and mapping do not fit.
    public init(_ shape: TableShape, schema: TableSchema, coalesce: CoalesceSetting) throws(ApplyError) {
        if let fault = schema.fault(shape) { throw fault }
        self.shape = shape
        self.schema = schema
        choice = schema.chooseStrategy(for: shape, coalesce: coalesce)
        optionalPositions = shape.columns.indices.filter { shape.columns[$0].isOptional }
        optionalColumns = Self.bits(optionalPositions)
        requiredColumns = Self.bits(schema.requiredOnInsert(shape))
        onUpdateDiffersFromDefault = !schema.onUpdateEqualsDefault(shape)
        texts = StatementTexts(shape: shape, relation: schema.relation)
        writer = SequentialWriter(shape: shape, relation: schema.relation, usesArbiter: schema.rules.isEmpty)
        function = SequentialFunction(writer)
    }

    var strategy: WriteStrategy { choice.strategy }

    /// The statement for rows of one kind. At most 256 are kept: there may be one for each set of absent columns.
    func statement(_ key: StatementKey) -> SetStatement {
        statements.withLock { statements in
            if let known = statements[key] { return known }
            if statements.count >= 256 { statements.removeAll() }
            let statement = texts.statement(key)
            statements[key] = statement
            return statement
        }
    }

    /// Several statements as one; see ``StatementTexts/combined(_:)``.
    func combined(_ keys: [StatementKey]) -> (sql: String, columns: [[Int]]) { texts.combined(keys) }

    func partialStatements(absent: UInt64) -> (insert: String, update: String) { writer.partial(absent: absent) }

    private static func bits(_ positions: [Int]) -> UInt64 {
        // Columns beyond the 64th are neither optional (refused) nor, then, ever absent.
        positions.reduce(0) { $1 < 64 ? $0 | 1 << UInt64($1) : $0 }
    }
}
