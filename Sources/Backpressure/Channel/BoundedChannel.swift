// The channel between two stages: async send and receive around ChannelMachine.

import Synchronization

/// A bounded, ordered channel between stages: `send` waits for room in records and bytes, `receive` waits for an element.
///
/// Both are cancel-safe: a cancelled `send` has either delivered its element or thrown, a cancelled `receive` loses nothing.
public final class BoundedChannel<Element: Sendable>: Sendable {
    private typealias Sender = CheckedContinuation<Bool, any Error>
    private typealias Receiver = CheckedContinuation<Element?, any Error>

    private let machine: Mutex<ChannelMachine<Element, Sender, Receiver>>

    /// - Parameters:
    ///   - capacity: what may lie in the channel at most; one larger element passes alone.
    ///   - cost: what an element costs.
    public init(capacity: Credits, cost: @escaping @Sendable (Element) -> Credits) {
        machine = Mutex(ChannelMachine(capacity: capacity, cost: cost))
    }

    /// What lies in the channel.
    public var level: Credits { machine.withLock { $0.level } }

    /// Hands an element over, waiting for room.
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

    /// Takes the next element if one is there now and costs no more than `limit`. Never waits.
    public func takeIfReady(upTo limit: Credits? = nil) -> Element? {
        guard let (element, resume) = machine.withLock({ $0.take(upTo: limit) }) else { return nil }
        for sender in resume { sender.resume(returning: true) }
        return element
    }

    /// Gives the channel another capacity. What lies in it stays, also where it is more than that.
    public func resize(to capacity: Credits) {
        for sender in machine.withLock({ $0.resized(to: capacity) }) { sender.resume(returning: true) }
    }

    /// No element comes any more: receivers get what lies in the channel and then `nil`, senders get `false`.
    public func finish() {
        let (senders, receivers) = machine.withLock { $0.finished() }
        for sender in senders { sender.resume(returning: false) }
        for receiver in receivers { receiver.resume(returning: nil) }
    }
}
