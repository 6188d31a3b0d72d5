// Owns the rows of quotas: one for each known client, and three that belong to none.

/// Rows of quotas. Clients' rows lie without gaps, so a removed row takes the place of the last one's; they are found by a dictionary
/// that never grows. Not thread-safe.
final class QuotaTable: @unchecked Sendable {
    // Licence for @unchecked: used by the one machine that owns it, under that one's lock; afterwards only released.

    /// The head of a row, before the quotas.
    struct Client {
        let key: RateLimitKey
        /// Until when the row is kept although it is not limited: `keyIdle` after the last request, or the end of a wait that was told.
        var keptUntil: UInt64
    }

    /// The row of all clients without one of their own; of quotas that are not by client, the only row.
    static let shared = 0
    /// Full quotas, of a client that has not been charged yet. Never charged.
    static let fresh = 1
    /// A copy of another row, to ask what would be.
    static let scratch = 2
    static let first = 3
    private static let headBytes = 16
    /// Rows are allocated in blocks of so many, so that memory is taken and given back in small pieces.
    private static let rowsInBlock = 1024

    let layout: QuotaLayout
    private let stride: Int
    private var blocks: [UnsafeMutableRawPointer] = []
    private var rowCount = 0
    private var rows: [RateLimitKey: UInt32]
    /// The row that is checked next for eviction.
    private var hand = QuotaTable.first

    /// - Parameter capacity: most clients.
    init(_ layout: QuotaLayout, capacity: Int) {
        self.layout = layout
        stride = Self.headBytes + layout.size
        rows = Dictionary(minimumCapacity: layout.columns.isEmpty ? 0 : capacity)
        for _ in 0..<Self.first { append(Client(key: .unknown, keptUntil: 0)) }
    }

    deinit { for block in blocks { block.deallocate() } }

    /// Clients with a row of their own.
    var count: Int { rowCount - Self.first }

    /// The row of the client that was added last. There must be one.
    var lastClient: Int { rowCount - 1 }

    /// Bytes of memory for each of `clients`: of its row, and of its share of the dictionary, which is at most three quarters full.
    func bytesPerKey(_ clients: Int) -> Int {
        stride + (MemoryLayout<RateLimitKey>.stride + MemoryLayout<UInt32>.stride) * rows.capacity * 4 / 3 / Swift.max(1, clients)
    }

    private func start(of row: Int) -> UnsafeMutableRawPointer {
        blocks[row / Self.rowsInBlock] + row % Self.rowsInBlock * stride
    }

    /// A row's quotas.
    subscript(row: Int) -> QuotaLayout.Row { start(of: row) + Self.headBytes }

    /// The head of a client's row.
    func client(_ row: Int) -> UnsafeMutablePointer<Client> { start(of: row).assumingMemoryBound(to: Client.self) }

    /// The row of a client; `nil`: it has none.
    func row(of key: RateLimitKey) -> Int? { rows[key].map(Int.init) }

    /// Adds a client with full quotas, which has no row yet.
    func insert(_ client: Client) -> Int {
        rows[client.key] = UInt32(rowCount)
        return append(client)
    }

    @discardableResult
    private func append(_ client: Client) -> Int {
        if rowCount == blocks.count * Self.rowsInBlock {
            blocks.append(.allocate(byteCount: Self.rowsInBlock * stride, alignment: 16))
        }
        rowCount += 1
        let row = rowCount - 1
        self.client(row).initialize(to: client)
        self[row].initializeMemory(as: UInt8.self, repeating: 0, count: layout.size)
        return row
    }

    /// Removes a client. The last row moves to the place of its row.
    func remove(_ row: Int) {
        rows[client(row).pointee.key] = nil
        let last = rowCount - 1
        if row != last {
            start(of: row).copyMemory(from: start(of: last), byteCount: stride)
            rows[client(row).pointee.key] = UInt32(row)
        }
        rowCount = last
        // One empty block is kept, so that a row which comes and goes allocates nothing.
        if (blocks.count - 1) * Self.rowsInBlock >= rowCount + Self.rowsInBlock { blocks.removeLast().deallocate() }
    }

    /// Removes rows that may be evicted, as a clock hand passes over them.
    /// - Parameters:
    ///   - checks: rows that are checked at most.
    ///   - mayEvict: whether a row may be evicted.
    func evict(checks: Int, _ mayEvict: (_ row: Int) -> Bool) {
        for _ in 0..<Swift.min(checks, count) {
            if hand >= rowCount { hand = Self.first }
            // Another row lies there then.
            if mayEvict(hand) { remove(hand) } else { hand += 1 }
        }
    }

    /// Makes ``scratch`` a copy of a row's quotas.
    func copyToScratch(_ row: Int) { self[Self.scratch].copyMemory(from: self[row], byteCount: layout.size) }
}
