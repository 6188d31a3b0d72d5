// Decides which senders and receivers of a bounded channel wait, as pure state.

/// The state of a bounded channel: its elements, senders that wait for capacity, receivers that wait for elements.
///
/// Capacity is counted in credits (records and bytes). An element is accepted while anything of both units is free, so one that is larger
/// than the whole channel passes alone and no sender waits for ever. Elements leave in the order they came.
///
/// `Sender` and `Receiver` stand for what waits (continuations in the shell, numbers in tests).
public struct ChannelMachine<Element, Sender, Receiver>: ~Copyable {
    /// Answer to a sender.
    public enum SendAction {
        /// The element is in; resume this receiver with it if there is one.
        case accepted(handTo: (receiver: Receiver, element: Element)?)
        /// No capacity is free: the sender waits.
        case suspended
        /// The channel is finished, or the sender was cancelled before it arrived.
        case refused(isCancelled: Bool)
    }

    /// Answer to a receiver.
    public enum ReceiveAction {
        /// An element, and the senders whose elements were accepted because of it.
        case element(Element, resume: [Sender])
        /// The channel is empty: the receiver waits.
        case suspended
        /// The channel is empty and finished, or the receiver was cancelled before it arrived.
        case ended(isCancelled: Bool)
    }

    private var capacity: Credits
    private let cost: @Sendable (Element) -> Credits
    private var held = Credits.zero
    // A taken element is replaced by nil, so that its memory is freed before its credits return.
    private var elements: [Element?] = []
    private var head = 0
    private var senders: [(id: UInt64, element: Element, sender: Sender)] = []
    private var receivers: [(id: UInt64, receiver: Receiver)] = []
    private var isFinished = false
    private var cancelledEarly: Set<UInt64> = []
    private var nextID: UInt64 = 0

    /// - Parameters:
    ///   - capacity: what the channel holds at most.
    ///   - cost: the cost of an element.
    public init(capacity: Credits, cost: @escaping @Sendable (Element) -> Credits) {
        precondition(capacity.isPositive, "a channel needs capacity in both units")
        self.capacity = capacity
        self.cost = cost
    }

    /// The cost of the elements in the channel.
    public var level: Credits { held }
    /// Number of elements in the channel.
    public var count: Int { elements.count - head }

    /// An identifier for a sender or receiver that may have to wait, so that its cancellation can find it.
    public mutating func makeID() -> UInt64 {
        nextID += 1
        return nextID
    }

    /// A sender arrived with an element.
    public mutating func sendArrived(_ element: Element, id: UInt64, sender: Sender) -> SendAction {
        if cancelledEarly.remove(id) != nil { return .refused(isCancelled: true) }
        if isFinished { return .refused(isCancelled: false) }
        if !receivers.isEmpty { return .accepted(handTo: (receivers.removeFirst().receiver, element)) }
        guard senders.isEmpty, hasCapacity else {
            senders.append((id, element, sender))
            return .suspended
        }
        append(element)
        return .accepted(handTo: nil)
    }

    /// A sender's task was cancelled. Returns the sender to resume if it was waiting.
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

    /// A receiver's task was cancelled. Returns the receiver to resume if it was waiting.
    public mutating func receiveCancelled(id: UInt64) -> Receiver? {
        if let index = receivers.firstIndex(where: { $0.id == id }) { return receivers.remove(at: index).receiver }
        cancelledEarly.insert(id)
        return nil
    }

    /// The sender or receiver with this identifier has left: a cancellation that came too late is forgotten.
    public mutating func departed(id: UInt64) { cancelledEarly.remove(id) }

    /// Takes the next element if there is one; with the senders whose elements were accepted because of it.
    public mutating func take() -> (element: Element, resume: [Sender])? {
        guard head < elements.count, let element = elements[head] else { return nil }
        elements[head] = nil
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64 {
            elements.removeFirst(head)
            head = 0
        }
        held -= cost(element)
        return (element, admitSenders())
    }

    /// The capacity was changed; the elements stay. Returns the senders whose elements were accepted because of it.
    public mutating func resized(to capacity: Credits) -> [Sender] {
        precondition(capacity.isPositive, "a channel needs capacity in both units")
        self.capacity = capacity
        return admitSenders()
    }

    /// The channel was ended. Returns the waiting senders, whose elements are refused, and the waiting receivers.
    public mutating func finished() -> (senders: [Sender], receivers: [Receiver]) {
        isFinished = true
        defer {
            senders = []
            receivers = []
        }
        return (senders.map(\.sender), receivers.map(\.receiver))
    }

    private var hasCapacity: Bool { (capacity - held).isPositive }

    private mutating func append(_ element: Element) {
        elements.append(element)
        held += cost(element)
    }

    private mutating func admitSenders() -> [Sender] {
        guard !senders.isEmpty else { return [] }
        var resumed: [Sender] = []
        while !senders.isEmpty, hasCapacity {
            let (_, element, sender) = senders.removeFirst()
            append(element)
            resumed.append(sender)
        }
        return resumed
    }
}
