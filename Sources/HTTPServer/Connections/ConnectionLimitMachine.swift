// Decides which connections are admitted: slots for all clients, a limit for each network, and reserved slots for priority routes.

/// The connection limit of a server. Pure.
///
/// A connection beyond the limit, of all connections or of its network, gets a reserved slot. There only priority routes (health checks,
/// metrics, operators) are served; other requests are refused. It is admitted with its next request once the limits allow it.
/// When all reserved slots are taken, a new connection evicts the oldest idle one of the network that holds most of them. So a client that
/// sends its request at once is served, one that holds a connection without a request is not, and a flood from one network evicts its own.
struct ConnectionLimitMachine: ~Copyable {
    struct Limits: Equatable {
        /// Connections that are admitted.
        var slots: Int
        /// Connections that are admitted from one network; 0: no limit.
        var perNetwork: Int
        /// Connections beyond these limits.
        var reservedSlots: Int
    }

    /// The outcome for a connection that has been accepted.
    struct Opened: Equatable {
        /// Its number, which is used again after it has closed.
        let number: Int
        /// The connection to close because of it: perhaps itself.
        var evicted: Int?
    }

    private enum State {
        case free
        case admitted
        case reserved(Activity)
        /// Evicted, and not closed yet.
        case closing
    }

    /// What a connection in a reserved slot does. Idle ones are evicted first, then those that are sent a response.
    private enum Activity {
        /// No request, or one that is not complete: its client may take any time to complete it.
        case idle
        /// The response is being sent: its client may take any time to read it.
        case responding
        /// The handler has the request.
        case handling
    }

    private struct Connection {
        var state: State
        /// `nil`: unknown.
        var network: SocketAddress?
    }

    private var limits: Limits
    private var connections: [Connection] = []
    private var free: [Int] = []
    private var admittedCount = 0
    private var admittedByNetwork: [SocketAddress?: Int] = [:]
    /// Connections in reserved slots, the oldest first.
    private var reserved: [Int] = []

    init(_ limits: Limits) { self.limits = limits }

    /// Connections in reserved slots.
    var reservedCount: Int { reserved.count }

    /// Admitted connections stay admitted.
    mutating func update(_ limits: Limits) { self.limits = limits }

    /// A connection has been accepted.
    mutating func opened(from network: SocketAddress?) -> Opened {
        let number = free.popLast() ?? connections.count
        let connection = Connection(state: .closing, network: network)
        if number == connections.count { connections.append(connection) } else { connections[number] = connection }
        if admit(number) { return Opened(number: number) }
        connections[number].state = .reserved(.idle)
        guard reserved.count >= limits.reservedSlots else {
            reserved.append(number)
            return Opened(number: number)
        }
        let evicted = oldest(.idle) ?? oldest(.responding) ?? number
        connections[evicted].state = .closing
        if evicted != number {
            reserved.removeAll { $0 == evicted }
            reserved.append(number)
        }
        return Opened(number: number, evicted: evicted)
    }

    /// The header of a request was received.
    /// - Returns: whether the request is served.
    mutating func requested(_ number: Int, isPriority: Bool) -> Bool {
        switch connections[number].state {
        case .admitted:
            return true
        case .reserved:
            if admit(number) {
                reserved.removeAll { $0 == number }
                return true
            }
            return isPriority
        case .closing:
            return false
        case .free:
            preconditionFailure("a request on a closed connection")
        }
    }

    /// The whole request was received and is being handled.
    mutating func requestReceived(_ number: Int) { changeActivity(number, .handling) }

    /// The response was queued.
    mutating func responded(_ number: Int) { changeActivity(number, .responding) }

    /// The request is over.
    mutating func requestEnded(_ number: Int) { changeActivity(number, .idle) }

    mutating func closed(_ number: Int) {
        switch connections[number].state {
        case .admitted:
            admittedCount -= 1
            let network = connections[number].network
            if let count = admittedByNetwork[network], count > 1 {
                admittedByNetwork[network] = count - 1
            } else {
                admittedByNetwork[network] = nil
            }
        case .reserved: reserved.removeAll { $0 == number }
        case .closing: break
        case .free: preconditionFailure("a connection closes twice")
        }
        connections[number].state = .free
        free.append(number)
    }

    /// Gives a connection a slot where the limits allow it.
    private mutating func admit(_ number: Int) -> Bool {
        let network = connections[number].network
        guard admittedCount < limits.slots else { return false }
        let count = admittedByNetwork[network, default: 0]
        guard limits.perNetwork == 0 || count < limits.perNetwork else { return false }
        admittedByNetwork[network] = count + 1
        admittedCount += 1
        connections[number].state = .admitted
        return true
    }

    private mutating func changeActivity(_ number: Int, _ activity: Activity) {
        if case .reserved = connections[number].state { connections[number].state = .reserved(activity) }
    }

    /// The oldest connection with this activity of the network that has most of them in reserved slots.
    private func oldest(_ activity: Activity) -> Int? {
        let candidates = reserved.filter { if case .reserved(activity) = connections[$0].state { true } else { false } }
        var counts: [SocketAddress?: Int] = [:]
        for number in candidates { counts[connections[number].network, default: 0] += 1 }
        var found: (number: Int?, count: Int) = (nil, 0)
        for number in candidates {
            let count = counts[connections[number].network, default: 0]
            if count > found.count { found = (number, count) }
        }
        return found.number
    }
}
