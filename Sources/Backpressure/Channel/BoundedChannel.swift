// The channel between two stages: async send and receive around ChannelMachine.

import Synchronization

/// A bounded, ordered channel between stages: `send` waits until records and bytes are free, `receive` waits for an element.
///
/// Both are cancel-safe: a cancelled `send` has either delivered its element or thrown, a cancelled `receive` loses nothing.
public final class BoundedChannel<Element: Sendable>: Sendable {
    private typealias Sender = CheckedContinuation<Bool, any Error>
    private typealias Receiver = CheckedContinuation<Element?, any Error>

    private let machine: Mutex<ChannelMachine<Element, Sender, Receiver>>

    /// - Parameters:
    ///   - capacity: what the channel holds at most; a larger element passes alone.
    ///   - cost: the cost of an element.
    public init(capacity: Credits, cost: @escaping @Sendable (Element) -> Credits) {
        machine = Mutex(ChannelMachine(capacity: capacity, cost: cost))
    }

    /// The cost of the elements in the channel.
    public var level: Credits { machine.withLock { $0.level } }

    /// Appends an element, waiting until there is capacity.
    ///
    /// - Returns: false where the channel is finished; the element was not taken.
    /// - Throws: `CancellationError`; the element was not taken.
    @discardableResult
    public func send(_ element: Element) async throws -> Bool {
        let id = machine.withLock { $0.makeID() }
        defer { machine.withLock { $0.departed(id: id) } }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: Sender) in
                switch machine.withLock({ $0.sendArrived(element, id: id, sender: continuation) }) {
                case .accepted(let handTo):
                    handTo?.receiver.resume(returning: handTo?.element)
                    continuation.resume(returning: true)
                case .suspended:
                    break
                case .refused(let isCancelled):
                    if isCancelled {
                        continuation.resume(throwing: CancellationError())
                    } else {
                        continuation.resume(returning: false)
                    }
                }
            }
        } onCancel: {
            machine.withLock { $0.sendCancelled(id: id) }?.resume(throwing: CancellationError())
        }
    }

    /// Takes the next element, waiting for one; `nil` once the channel is finished and empty.
    ///
    /// - Throws: `CancellationError`.
    public func receive() async throws -> Element? {
        if let (element, resume) = machine.withLock({ $0.take() }) {
            for sender in resume { sender.resume(returning: true) }
            return element
        }
        let id = machine.withLock { $0.makeID() }
        defer { machine.withLock { $0.departed(id: id) } }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: Receiver) in
                switch machine.withLock({ $0.receiveArrived(id: id, receiver: continuation) }) {
                case .element(let element, let resume):
                    for sender in resume { sender.resume(returning: true) }
                    continuation.resume(returning: element)
                case .suspended:
                    break
                case .ended(let isCancelled):
                    if isCancelled {
                        continuation.resume(throwing: CancellationError())
                    } else {
                        continuation.resume(returning: nil)
                    }
                }
            }
        } onCancel: {
            machine.withLock { $0.receiveCancelled(id: id) }?.resume(throwing: CancellationError())
        }
    }

    /// Takes the next element if there is one now. Never waits.
    public func takeIfReady() -> Element? {
        guard let (element, resume) = machine.withLock({ $0.take() }) else { return nil }
        for sender in resume { sender.resume(returning: true) }
        return element
    }

    /// Changes the capacity. Elements in the channel stay, also where they are more than that.
    public func resize(to capacity: Credits) {
        for sender in machine.withLock({ $0.resized(to: capacity) }) { sender.resume(returning: true) }
    }

    /// Ends the channel: receivers get the elements in it and then `nil`, senders get `false`.
    public func finish() {
        let (senders, receivers) = machine.withLock { $0.finished() }
        for sender in senders { sender.resume(returning: false) }
        for receiver in receivers { receiver.resume(returning: nil) }
    }
}
