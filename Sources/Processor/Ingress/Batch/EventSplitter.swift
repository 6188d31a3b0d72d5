// Cuts a body that arrives in pieces into whole events, and keeps the part of one that two pieces share.

import Records

/// The events of one batch, each as bytes that the decoder can read. Pure but for the memory of the event that is cut in two.
struct EventSplitter: ~Copyable {
    enum Step {
        /// A whole event without white space around it, followed by ``ByteBuffer/padding`` readable bytes. `isCopied`: its bytes are valid
        /// until the next call only; otherwise they are the piece's.
        case event(UnsafeRawBufferPointer, isCopied: Bool)
        /// An event that is too large; its bytes were passed over.
        case oversized
        /// The piece is read; an event may continue in the next one.
        case nothing
        case broken(BoundaryMachine.Fault)
        /// There is no memory for an event that two pieces share.
        case noMemory
    }

    /// Bytes of an event that need no budget.
    private static let freeBytes = 4096

    private var machine: BoundaryMachine
    private let eventBytes: Int
    private let budget: ResultBudget
    private var carry = ByteBuffer()
    private var isOversized = false
    /// Bytes of `carry` that were taken from the budget.
    private var carried = 0

    /// - Parameters:
    ///   - mark: what came of a byte order mark before the first piece.
    ///   - eventBytes: most bytes of one event.
    ///   - budget: where the memory for an event in two pieces comes from, beyond 4 KiB.
    init(_ format: BatchFormat, mark: ByteOrderMark = ByteOrderMark(), eventBytes: Int, budget: ResultBudget) {
        machine = BoundaryMachine(format, mark: mark)
        self.eventBytes = eventBytes
        self.budget = budget
    }

    deinit { budget.give(carried) }

    /// Bytes that are kept of an incomplete event.
    var keptBytes: Int { carry.count }

    /// Reads `piece` from `at` on, and moves `at` past what was read.
    mutating func next(_ piece: UnsafeRawBufferPointer, _ at: inout Int) -> Step {
        switch machine.pieceRead(piece, from: at) {
        case .nothing:
            at = piece.count
            return .nothing
        case .broken(let fault):
            return .broken(fault)
        case .part(let range):
            at = piece.count
            return keep(UnsafeRawBufferPointer(rebasing: piece[range])) ? .nothing : .noMemory
        case .event(let range, let next):
            at = next
            return complete(UnsafeRawBufferPointer(rebasing: piece[range]), readable: piece.count - range.upperBound)
        }
    }

    /// The body is over.
    mutating func bodyEnded() -> Step {
        switch machine.bodyEnded() {
        case .complete: .nothing
        case .broken(let fault): .broken(fault)
        case .event: complete(UnsafeRawBufferPointer(start: nil, count: 0), readable: 0)
        }
    }

    /// Ends the event that was kept so far with `part`.
    private mutating func complete(_ part: UnsafeRawBufferPointer, readable: Int) -> Step {
        let part = Self.trimmed(part)
        if carry.count == 0, !isOversized, part.count <= eventBytes, readable >= ByteBuffer.padding {
            return .event(part, isCopied: false)
        }
        guard keep(part) else { return .noMemory }
        defer {
            isOversized = false
            // The bytes stay where they are until the next call.
            carry.removeAll()
        }
        return isOversized ? .oversized : .event(Self.trimmed(carry.bytes), isCopied: true)
    }

    /// Keeps a part of an event, unless it is too large by now.
    /// - Returns: `false`: there is no memory for it.
    private mutating func keep(_ part: UnsafeRawBufferPointer) -> Bool {
        let needed = carry.count + part.count
        if isOversized || needed > eventBytes {
            isOversized = true
            carry.removeAll()
            return true
        }
        if needed > max(carried, Self.freeBytes) {
            guard budget.take(needed - carried) else { return false }
            carried = needed
        }
        carry.append(part)
        return true
    }

    /// Without trailing white space, such as the carriage return of a line that ends with CR LF.
    private static func trimmed(_ part: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var end = part.count
        while end > 0, BoundaryMachine.isSpace(part[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: part[..<end])
    }
}
