// Decides which waiting event goes out next: at most one of a key at a time, so that a key's events cannot overtake each other.

/// An event that is due.
struct DueEvent: Sendable, Equatable {
    /// The event.
    let event: PlannedEvent
    /// When it was due, in nanoseconds.
    let dueAt: UInt64
}

/// Holds due events until a connection is free and no earlier event of the same key is under way.
///
/// Each busy key has exactly one event that is ready or under way; its later events wait in order behind it. A hot key delays
/// only itself: events of other keys pass it.
struct DispatchMachine: ~Copyable {
    /// Requests under way.
    private(set) var underWay = 0
    /// Events that wait, for a connection or for their key.
    private(set) var waiting = 0
    /// Most requests under way at a time.
    let connections: Int
    /// Most events that may wait.
    let limit: Int
    private var ready = Queue<DueEvent>()
    private var busy: [Int32: Queue<DueEvent>] = [:]

    /// - Parameters:
    ///   - connections: most requests under way at a time.
    ///   - limit: most events that may wait; what comes due beyond it is dropped.
    init(connections: Int, limit: Int) {
        self.connections = connections
        self.limit = limit
    }

    /// Connections without a request.
    var idle: Int { connections - underWay }
    /// Neither waiting nor under way.
    var isEmpty: Bool { waiting == 0 && underWay == 0 }

    /// An event came due. `false`: too many wait, and this one will never be sent.
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

    /// The request of a key was answered or given up: its next event becomes ready.
    mutating func answered(slot: Int32) {
        underWay -= 1
        if let following = busy[slot]!.popFirst() {
            ready.append(following)
        } else {
            busy[slot] = nil
        }
    }

    /// The run is over: everything that waits will never be sent. Answers how many that are.
    mutating func abandoned() -> Int {
        defer {
            waiting = 0
            ready = Queue()
            for slot in busy.keys { busy[slot] = Queue() }
        }
        return waiting
    }
}

/// First in, first out, in an array whose used-up front is given back from time to time.
struct Queue<Element> {
    private var items: [Element] = []
    private var head = 0

    /// Puts one at the end.
    mutating func append(_ item: Element) { items.append(item) }

    /// Takes the first one.
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
