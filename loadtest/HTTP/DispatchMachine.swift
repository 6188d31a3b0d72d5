// Decides which waiting event is sent next: one of a key at a time, so that the events of a key keep their order.

/// An event that is due.
struct DueEvent: Sendable, Equatable {
    /// The event.
    let event: PlannedEvent
    /// When it was due, in nanoseconds.
    let dueAt: UInt64
}

/// Holds due events until a connection is free and no earlier event of the same key is under way.
///
/// Each busy key has exactly one event that is ready or under way; its later events wait in order. A hot key does not delay other
/// keys.
struct DispatchMachine: ~Copyable {
    /// Requests under way.
    private(set) var underWay = 0
    /// Events that wait, for a connection or for their key.
    private(set) var waiting = 0
    /// How many requests are under way at most.
    let connections: Int
    /// How many events may wait.
    let limit: Int
    private var ready = Queue<DueEvent>()
    private var busy: [Int32: Queue<DueEvent>] = [:]

    /// - Parameters:
    ///   - connections: how many requests are under way at most.
    ///   - limit: how many events may wait; further due events are dropped.
    init(connections: Int, limit: Int) {
        self.connections = connections
        self.limit = limit
    }

    /// Connections without a request.
    var idle: Int { connections - underWay }
    /// Whether no event waits or is under way.
    var isEmpty: Bool { waiting == 0 && underWay == 0 }

    /// An event became due. `false`: too many wait, and it is dropped.
    mutating func becameDue(_ due: DueEvent) -> Bool {
        guard waiting < limit else { return false }
        waiting += 1
        if busy[due.event.slot] == nil {
            busy[due.event.slot] = Queue()
            ready.append(due)
        } else {
            busy[due.event.slot]!.append(due)
        }
        return true
    }

    /// The event to send now; `nil`: none, or no connection is free.
    mutating func next() -> DueEvent? {
        guard idle > 0, let due = ready.popFirst() else { return nil }
        waiting -= 1
        underWay += 1
        return due
    }

    /// The request of a key ended: its next event becomes ready.
    mutating func answered(slot: Int32) {
        underWay -= 1
        if let following = busy[slot]!.popFirst() {
            ready.append(following)
        } else {
            busy[slot] = nil
        }
    }

    /// The run is over: drops all waiting events and returns how many they are.
    mutating func abandoned() -> Int {
        defer {
            waiting = 0
            ready = Queue()
            for slot in busy.keys { busy[slot] = Queue() }
        }
        return waiting
    }
}

/// A queue in an array, whose consumed front is freed from time to time.
struct Queue<Element> {
    private var items: [Element] = []
    private var head = 0

    /// Appends an element.
    mutating func append(_ item: Element) { items.append(item) }

    /// Removes the first element.
    mutating func popFirst() -> Element? {
        guard head < items.count else { return nil }
        let item = items[head]
        head += 1
        if head == items.count {
            items.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 1024, head * 2 >= items.count {
            items.removeFirst(head)
            head = 0
        }
        return item
    }
}
