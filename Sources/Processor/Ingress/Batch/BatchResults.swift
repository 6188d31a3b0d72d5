// Owns the results of one batch until it is answered: one byte an event, and the problems of the first refused ones.

/// One byte an event, in blocks of memory that never move: a result's address is the token of its Kafka record, so the delivery report
/// knows where to write, and the first bytes of its block point to the owner.
final class BatchResults: @unchecked Sendable {
    // Licence for @unchecked: events are appended by the HTTP loop's thread until the batch is closed. A cell whose event was produced is
    // written once, by the report thread. Everything is read after the last report; the owner's atomic counter orders these accesses.

    /// Set in tokens that are the address of a result; addresses of user space are far below it.
    static let tokenMark: UInt = 1 << 62

    /// Blocks begin at multiples of it, and are shorter by the allocator's header: two of them then take two pages and not four.
    private static let alignment = 4096
    private static let blockBytes = alignment - 32
    private static let headBytes = 16
    private static let cellsInBlock = blockBytes - headBytes
    /// Bytes of problems that a batch keeps; further refused events get the text of their code.
    private static let noteBytes = 16 << 10

    /// A refused event with its own problem.
    struct Note {
        let start: Int
        let count: Int
        let status: Int
    }

    private let budget: ResultBudget
    /// Found again by ``owner(of:)``; not retained.
    var owner: UnsafeMutableRawPointer?
    private var held = 0
    private var blocks: [UnsafeMutableRawPointer] = []
    /// Events with a result of their own.
    private var cells = 0
    /// Events after those, which all get ``refusal``, and their bytes.
    private(set) var refused = 0
    private(set) var refusedBytes = 0
    /// In the events' order.
    private(set) var notes: [Note] = []
    /// The texts of ``notes``.
    private(set) var noteTexts: [UInt8] = []
    private(set) var firstNoted: ProblemDetails?
    /// Whether a further problem may be kept.
    private(set) var keepsProblems = true
    /// The problem of ``ResultTable/refused``.
    var refusal: ProblemDetails?
    /// One more result after those of the events: why the rest of the body was not read.
    var rest: ProblemDetails?

    init(budget: ResultBudget) { self.budget = budget }

    deinit {
        for block in blocks { block.deallocate() }
        budget.give(held)
    }

    /// Events with a result.
    var count: Int { cells + refused }

    /// Adds an event that gets ``refusal``, as all do that follow. It takes no memory.
    func appendRefused(bytes: Int) {
        refused += 1
        refusedBytes += bytes
    }

    /// Adds an event's result; not after ``appendRefused(bytes:)``. The first block is not taken from the budget, so that small batches
    /// are served also while large ones have used it up.
    /// - Returns: the result's address; `nil`: the memory for results is used up.
    func append(_ code: UInt8) -> UnsafeMutablePointer<UInt8>? {
        precondition(refused == 0, "events after the first refused one have no result of their own")
        let (block, cell) = cells.quotientAndRemainder(dividingBy: Self.cellsInBlock)
        guard block < blocks.count || addBlock() else { return nil }
        let address = (blocks[block] + Self.headBytes + cell).assumingMemoryBound(to: UInt8.self)
        address.initialize(to: code)
        cells += 1
        return address
    }

    /// Allocates memory for so many further results, fewer than a block has.
    /// - Returns: `false`: the memory for results is used up.
    func reserve(_ events: Int) -> Bool {
        (cells + events - 1) / Self.cellsInBlock < blocks.count || addBlock()
    }

    private func addBlock() -> Bool {
        guard blocks.isEmpty || take(Self.blockBytes) else { return false }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.blockBytes, alignment: Self.alignment)
        memory.storeBytes(of: owner, as: UnsafeMutableRawPointer?.self)
        blocks.append(memory)
        return true
    }

    /// Adds the result of an event with a problem of its own.
    /// - Parameter code: the result if no more problems are kept.
    /// - Returns: `false`: the memory for results is used up.
    func append(_ problem: ProblemDetails, orElse code: UInt8) -> Bool {
        let text = ResultTable.text(problem)
        let isKept = noteTexts.count + text.count <= Self.noteBytes && (!noteTexts.isEmpty || take(2 * Self.noteBytes))
        keepsProblems = isKept
        guard append(isKept ? ResultTable.noted : code) != nil else { return false }
        guard isKept else { return true }
        if firstNoted == nil {
            firstNoted = problem
            noteTexts.reserveCapacity(Self.noteBytes)
        }
        notes.append(Note(start: noteTexts.count, count: text.count, status: problem.status))
        noteTexts += text
        return true
    }

    /// The owner of a result.
    static func owner(of cell: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        let block = UnsafeRawPointer(bitPattern: UInt(bitPattern: cell) & ~UInt(alignment - 1))!
        return block.load(as: UnsafeMutableRawPointer.self)
    }

    /// The result of an event.
    func code(_ event: Int) -> UInt8 {
        guard event < cells else { return ResultTable.refused }
        let (block, cell) = event.quotientAndRemainder(dividingBy: Self.cellsInBlock)
        return blocks[block].load(fromByteOffset: Self.headBytes + cell, as: UInt8.self)
    }

    /// Calls `body` with the results of events that have their own, in order, block by block.
    func forEachRun(_ body: (UnsafeRawBufferPointer) -> Void) {
        var left = cells
        for block in blocks where left > 0 {
            let cells = min(left, Self.cellsInBlock)
            body(UnsafeRawBufferPointer(start: block + Self.headBytes, count: cells))
            left -= cells
        }
    }

    private func take(_ bytes: Int) -> Bool {
        guard budget.take(bytes) else { return false }
        held += bytes
        return true
    }
}
