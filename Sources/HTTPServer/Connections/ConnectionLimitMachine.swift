// Decides which connections are admitted: slots for all clients, a limit for each network, and reserved slots for priority routes.

/// The connection limit of a server. Pure.
///
/// A connection beyond the limit, of all connections or of its network, gets a reserved slot. There only priority routes (health checks,
/// metrics, operators) are served. With a request for another route it is admitted: to a free slot, or to that of the oldest idle
/// connection of the network that holds most slots (of its own network where that is at its limit). Where none is idle, it is refused.
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

    /// The outcome for a request.
    struct Requested: Equatable {
        let isServed: Bool
        /// The connection to close because of it.
        var evicted: Int?
    }

    private enum Slot {
        case none, admitted, reserved
        /// Evicted, and not closed yet.
        case closing
    }

    /// What a connection does.
    private enum Activity {
        /// No request has come, the last one is over, or it is refused and the rest of its body is dropped.
        case idle
        /// Its request is not complete: its client may take any time to complete it.
        case reading
        /// The response is being sent: its client may take any time to read it.
        case responding
        /// The handler has the request.
        case handling
    }

    private struct Connection {
        var slot: Slot
        var activity = Activity.idle
        /// Its place in the order in which connections became idle.
        var idleSince: Int
        let network: Network
    }

    /// The connections from one network.
    private final class Network {
        /// `nil`: unknown.
        let address: SocketAddress?
        var open = 0
        var admitted = 0
        var reserved = 0

        init(_ address: SocketAddress?) { self.address = address }
    }

    private var limits: Limits
    private var connections: [Connection] = []
    private var free: [Int] = []
    private var networks: [SocketAddress?: Network] = [:]
    private var admittedCount = 0
    private var idleCount = 0
    /// Connections in reserved slots.
    private var reserved: [Int] = []

    init(_ limits: Limits) { self.limits = limits }

    /// Connections in reserved slots.
    var reservedCount: Int { reserved.count }

    /// Admitted connections stay admitted.
    mutating func update(_ limits: Limits) { self.limits = limits }

    /// A connection has been accepted.
    mutating func opened(from address: SocketAddress?) -> Opened {
        let number = free.popLast() ?? connections.count
        idleCount += 1
        let network = networks[address] ?? Network(address)
        networks[address] = network
        network.open += 1
        let connection = Connection(slot: .closing, idleSince: idleCount, network: network)
        if number == connections.count { connections.append(connection) } else { connections[number] = connection }
        if hasRoom(for: network) {
            admit(number)
            return Opened(number: number)
        }
        var evicted: Int?
        if reserved.count >= limits.reservedSlots {
            evicted = oldest(in: .reserved) { $0 == .idle || $0 == .reading } ?? oldest(in: .reserved) { $0 == .responding }
            guard let evicted else { return Opened(number: number, evicted: number) }
            leave(evicted, for: .closing)
        }
        connections[number].slot = .reserved
        network.reserved += 1
        reserved.append(number)
        return Opened(number: number, evicted: evicted)
    }

    /// The header of a request was received.
    mutating func requested(_ number: Int, isPriority: Bool) -> Requested {
        let connection = connections[number]
        connections[number].activity = .reading
        switch connection.slot {
        case .admitted:
            return Requested(isServed: true)
        case .reserved:
            var evicted: Int?
            if !hasRoom(for: connection.network) {
                if isPriority { return Requested(isServed: true) }
                let isFull = limits.perNetwork > 0 && connection.network.admitted >= limits.perNetwork
                evicted = oldest(in: .admitted, of: isFull ? connection.network : nil) { $0 == .idle }
                guard let evicted else { return Requested(isServed: false) }
                leave(evicted, for: .closing)
            }
            leave(number, for: .admitted)
            admit(number)
            return Requested(isServed: true, evicted: evicted)
        case .closing:
            return Requested(isServed: false)
        case .none:
            preconditionFailure("a request on a closed connection")
        }
    }

    /// The whole request was received and is being handled.
    mutating func requestReceived(_ number: Int) { connections[number].activity = .handling }

    /// The response was queued.
    mutating func responded(_ number: Int) { connections[number].activity = .responding }

    /// The request is over, or is refused and the rest of its body is dropped.
    mutating func becameIdle(_ number: Int) {
        idleCount += 1
        connections[number].activity = .idle
        connections[number].idleSince = idleCount
    }

    mutating func closed(_ number: Int) {
        precondition(connections[number].slot != .none, "a connection closes twice")
        leave(number, for: .none)
        free.append(number)
        let network = connections[number].network
        network.open -= 1
        if network.open == 0 { networks[network.address] = nil }
    }

    private func hasRoom(for network: Network) -> Bool {
        admittedCount < limits.slots && (limits.perNetwork == 0 || network.admitted < limits.perNetwork)
    }

    private mutating func admit(_ number: Int) {
        connections[number].slot = .admitted
        admittedCount += 1
        connections[number].network.admitted += 1
    }

    /// Takes a connection's slot away.
    private mutating func leave(_ number: Int, for slot: Slot) {
        switch connections[number].slot {
        case .admitted:
            admittedCount -= 1
            connections[number].network.admitted -= 1
        case .reserved:
            reserved.removeAll { $0 == number }
            connections[number].network.reserved -= 1
        case .none, .closing:
            break
        }
        connections[number].slot = slot
    }

    /// Of the connections in slots of this kind with such an activity, the one that is idle longest in the network that holds most of the
    /// slots.
    private func oldest(in slot: Slot, of network: Network? = nil, _ matches: (Activity) -> Bool) -> Int? {
        var found: (number: Int, held: Int, since: Int)?
        for position in 0..<(slot == .reserved ? reserved.count : connections.count) {
            let number = slot == .reserved ? reserved[position] : position
            let connection = connections[number]
            guard connection.slot == slot, matches(connection.activity), network == nil || network === connection.network else {
                continue
            }
            let held = slot == .reserved ? connection.network.reserved : connection.network.admitted
            if let found, (held, -connection.idleSince) < (found.held, -found.since) { continue }
            found = (number, held, connection.idleSince)
        }
        return found?.number
    }
}
