// Decides who waits and who goes on at a bounded channel between two stages, as pure state.

/// The state of a bounded channel: elements under way, senders that wait for room, receivers that wait for elements.
///
/// Room is counted in credits (records and bytes). An element is let in while anything of both units is free, so one that is larger
/// than the whole channel passes alone; nothing waits for ever. Elements leave in the order they came.
///
/// `Sender` and `Receiver` stand for whoever waits (continuations in the shell, numbers in tests).
public struct ChannelMachine<Element, Sender, Receiver>: ~Copyable {
    /// Answer to a sender.
    public enum SendAction {
        /// The element is in; resume this receiver with it if there is one.
        case accepted(handTo: (receiver: Receiver, element: Element)?)
        /// No room: the sender waits.
        case suspended
        /// The channel takes nothing any more, or the sender was cancelled before it arrived.
        case refused(isCancelled: Bool)
    }

    /// Answer to a receiver.
    public enum ReceiveAction {
        /// An element, and the senders whose elements now found room.
        case element(Element, resume: [Sender])
        /// Nothing there: the receiver waits.
        case suspended
        /// Nothing there and nothing will come, or the receiver was cancelled before it arrived.
        case ended(isCancelled: Bool)
    }

    private var capacity: Credits
    private let cost: @Sendable (Element) -> Credits
    private var held = Credits.zero
    // A taken element leaves nil behind: its memory must not live on here once its credits are refunded.
    private var elements: [Element?] = []
    private var head = 0
    private var senders: [(id: UInt64, element: Element, sender: Sender)] = []
    private var receivers: [(id: UInt64, receiver: Receiver)] = []
    private var isFinished = false
    private var cancelledEarly: Set<UInt64> = []
    private var nextID: UInt64 = 0

    /// - Parameters:
    ///   - capacity: what may be under way at most.
    ///   - cost: what an element costs.
    public init(capacity: Credits, cost: @escaping @Sendable (Element) -> Credits) {
        precondition(capacity.isPositive, "a channel needs room of both units")
        self.capacity = capacity
        self.cost = cost
    }

    /// What lies in the channel.
    public var level: Credits { held }
    /// Number of elements in the channel.
    public var count: Int { elements.count - head }

    /// A fresh name for someone who may have to wait, so that a cancellation can find it.
    public mutating func makeID() -> UInt64 {
        nextID += 1
        return nextID
    }

    /// A sender arrived with an element.
    public mutating func sendArrived(_ element: Element, id: UInt64, sender: Sender) -> SendAction {
        if cancelledEarly.remove(id) != nil { return .refused(isCancelled: true) }
        if isFinished { return .refused(isCancelled: false) }
        if !receivers.isEmpty { return .accepted(handTo: (receivers.removeFirst().receiver, element)) }
        guard senders.isEmpty, hasRoom else {
            senders.append((id, element, sender))
            return .suspended
        }
        append(element)
        return .accepted(handTo: nil)
    }

    /// A sender's task was cancelled. Answers the sender to resume if it was waiting.
    public mutating func sendCancelled(id: UInt64) -> Sender? {
        if let index = senders.firstIndex(where: { $0.id == id }) { return senders.remove(at: index).sender }
        cancelledEarly.insert(id)
        return nil
    }

    /// A receiver arrived.
    public mutating func receiveArrived(id: UInt64, receiver: Receiver) -> ReceiveAction {
        if cancelledEarly.remove(id) != nil { return .ended(isCancelled: true) }
        if let (element, resume) = take() { return .element(element, resume: resume) }
        if isFinished { return .ended(isCancelled: false) }
        receivers.append((id, receiver))
        return .suspended
    }

    /// A receiver's task was cancelled. Answers the receiver to resume if it was waiting.
    public mutating func receiveCancelled(id: UInt64) -> Receiver? {
        if let index = receivers.firstIndex(where: { $0.id == id }) { return receivers.remove(at: index).receiver }
        cancelledEarly.insert(id)
        return nil
    }

    /// Whoever had this name has left without having to be resumed: a cancellation that came too late is forgotten.
    public mutating func departed(id: UInt64) { cancelledEarly.remove(id) }

    /// Takes the next element if there is one and it costs no more than `limit`; with the senders whose elements found room.
    public mutating func take(upTo limit: Credits? = nil) -> (element: Element, resume: [Sender])? {
        guard head < elements.count, let element = elements[head] else { return nil }
        let price = cost(element)
        if let limit, !limit.covers(price) { return nil }
        elements[head] = nil
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64 {
            elements.removeFirst(head)
            head = 0
        }
        held -= price
        return (element, admitSenders())
    }

    /// The channel was given another capacity; what lies in it stays. Answers the senders whose elements found room.
    public mutating func resized(to capacity: Credits) -> [Sender] {
        precondition(capacity.isPositive, "a channel needs room of both units")
        self.capacity = capacity
        return admitSenders()
    }

    /// No element comes any more. Answers the waiting senders, whose elements are refused, and the waiting receivers.
    public mutating func finished() -> (senders: [Sender], receivers: [Receiver]) {
        isFinished = true
        defer {
            senders = []
            receivers = []
        }
        return (senders.map(\.sender), receivers.map(\.receiver))
    }

    private var hasRoom: Bool { (capacity - held).isPositive }

    private mutating func append(_ element: Element) {
        elements.append(element)
        held += cost(element)
    }

    private mutating func admitSenders() -> [Sender] {
        guard !senders.isEmpty else { return [] }
        var resumed: [Sender] = []
        while !senders.isEmpty, hasRoom {
            let (_, element, sender) = senders.removeFirst()
            append(element)
            resumed.append(sender)
        }
        return resumed
    }
}
