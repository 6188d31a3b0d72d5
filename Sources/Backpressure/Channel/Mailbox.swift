// Owns the queue by which threads and tasks hand elements to one task.

import Synchronization

/// An ordered queue with any number of senders and one receiver. Sending never waits: what is in it is bounded by the credits that were
/// spent for it. A bound of its own could keep a rebalance waiting behind records for which there is no database.
public final class Mailbox<Element: Sendable>: Sendable {
    /// Resumed with whether there is an element; otherwise the mailbox is finished. The element itself is taken under the lock.
    private typealias Receiver = CheckedContinuation<Bool, any Error>

    private struct State {
        // A taken element is replaced by nil, so that its memory is freed before its credits return.
        var elements: [Element?] = []
        var head = 0
        var level = Credits.zero
        var receiver: Receiver?
        var isFinished = false
    }

    private let state = Mutex(State())
    private let cost: @Sendable (Element) -> Credits

    /// - Parameter cost: what an element adds to ``level``.
    public init(cost: @escaping @Sendable (Element) -> Credits = { _ in .zero }) { self.cost = cost }

    /// The cost of the elements in the mailbox.
    public var level: Credits { state.withLock { $0.level } }

    /// Appends an element; after ``finish()`` it is dropped.
    public func send(_ element: Element) {
        let receiver = state.withLock { state -> Receiver? in
            if state.isFinished { return nil }
            state.elements.append(element)
            state.level += cost(element)
            return state.receiver.take()
        }
        receiver?.resume(returning: true)
    }

    /// Takes the next element, waiting for one; `nil` once the mailbox is finished and empty. One caller at a time.
    /// - Throws: `CancellationError`; no element was taken.
    public func receive() async throws -> Element? {
        try Task.checkCancellation()
        if let element = takeIfReady() { return element }
        return try await hasElement() ? takeIfReady() : nil
    }

    /// Waits for an element. False: the mailbox is finished and empty.
    private func hasElement() async throws -> Bool {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: Receiver) in
                let answer: Result<Bool, any Error>? = state.withLock { state in
                    if state.head < state.elements.count { return .success(true) }
                    if state.isFinished { return .success(false) }
                    // A cancellation that came before the receiver is stored finds none to resume: so it is checked here, under the
                    // lock that the handler takes.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    precondition(state.receiver == nil, "a mailbox has one receiver at a time")
                    state.receiver = continuation
                    return nil
                }
                if let answer { continuation.resume(with: answer) }
            }
        } onCancel: {
            state.withLock { $0.receiver.take() }?.resume(throwing: CancellationError())
        }
    }

    /// Takes the next element if there is one now. Never waits.
    public func takeIfReady() -> Element? { state.withLock { take(&$0) } }

    /// Ends the mailbox: the receiver gets the elements in it and then `nil`.
    public func finish() {
        let receiver = state.withLock { state in
            state.isFinished = true
            return state.receiver.take()
        }
        receiver?.resume(returning: false)
    }

    private func take(_ state: inout State) -> Element? {
        guard state.head < state.elements.count, let element = state.elements[state.head].take() else { return nil }
        state.level -= cost(element)
        state.head += 1
        if state.head == state.elements.count {
            state.elements.removeAll(keepingCapacity: true)
            state.head = 0
        } else if state.head >= 64, state.head * 2 > state.elements.count {
            state.elements.removeFirst(state.head)
            state.head = 0
        }
        return element
    }
}
