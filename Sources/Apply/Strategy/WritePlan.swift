// Owns what is the same for every transaction of a table: its shape, its strategy and the texts of its statements.

public import Records
import Synchronization

/// How one table is written. Made when partitions are claimed, shared by the lanes.
public final class WritePlan: Sendable {
    /// Keys longer than this are written event by event: an index refuses an entry of about a third of a page (2,704 bytes), and
    /// what an event is refused for must not be folded away.
    static let longestCoalescedKey = 1_024

    /// The mapping's table.
    public let shape: TableShape
    /// What the catalogue said.
    public let schema: TableSchema
    /// The strategy, and why; for the log.
    public let choice: StrategyChoice
    /// Bit n: the n-th column may be absent.
    let optionalColumns: UInt64
    let optionalPositions: [Int]
    /// Bit n: an inserted row needs the n-th column.
    let requiredColumns: UInt64
    /// A row that is inserted and then updated differs from one that is only inserted.
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

    /// The statement for rows of one kind. There are as many as there are sets of absent columns in the data; the memory of them
    /// is bounded.
    func statement(_ key: StatementKey) -> SetStatement {
        statements.withLock { statements in
            if let known = statements[key] { return known }
            if statements.count >= 256 { statements.removeAll() }
            let statement = texts.statement(key)
            statements[key] = statement
            return statement
        }
    }

    /// One statement for rows of different keys; see ``StatementTexts/combined(_:)``.
    func combined(_ keys: [StatementKey]) -> (sql: String, columns: [[Int]]) { texts.combined(keys) }

    func partialStatements(absent: UInt64) -> (insert: String, update: String) { writer.partial(absent: absent) }

    private static func bits(_ positions: [Int]) -> UInt64 {
        // Columns beyond the 64th are neither optional (refused) nor, then, ever absent.
        positions.reduce(0) { $1 < 64 ? $0 | 1 << UInt64($1) : $0 }
    }
}
