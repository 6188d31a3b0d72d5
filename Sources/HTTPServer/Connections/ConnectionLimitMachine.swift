// Decides which connections are served: places for everybody, a share of them for each network, and a reserve for what must get through.

/// The places of a server's connections. Pure.
///
/// A connection that finds no place, because all are taken or its network has its share, waits in the reserve. There it is served what is
/// vital (health checks, operators), and gets a place with its next request once one is free. Everything else it asks for is refused.
/// Where the reserve is full an idle connection goes, the oldest of the network that has most of them there: whoever asks at once gets
/// through, whoever holds on without asking does not, and a crowd from one network pushes out its own.
struct ConnectionLimitMachine: ~Copyable {
    struct Limits: Equatable {
        /// Connections with a place.
        var places: Int
        /// Places of one network; 0: no limit.
        var perNetwork: Int
        /// Connections without one.
        var reserve: Int
    }

    /// What became of a connection that has been accepted.
    struct Opened: Equatable {
        /// Its number, which is used again once it has closed.
        let number: Int
        /// The connection that must go for it: perhaps itself.
        var evicted: Int?
    }

    private enum State {
        case free
        case seated
        case waiting(Occupation)
        /// Told to go, and not gone yet.
        case leaving
    }

    /// How dispensable a connection in the reserve is.
    private enum Occupation {
        /// It has asked for nothing yet, or not to the end: that could take as long as its client likes.
        case idle
        /// Its answer is on its way, which could take as long too.
        case answered
        /// Its answer is being made.
        case served
    }

    private struct Seat {
        var state: State
        var network: SocketAddress?
    }

    private var limits: Limits
    private var seats: [Seat] = []
    private var free: [Int] = []
    private var taken = 0
    private var networks: [SocketAddress?: Int] = [:]
    /// Those in the reserve, the oldest first.
    private var reserve: [Int] = []

    init(_ limits: Limits) { self.limits = limits }

    /// Connections without a place.
    var waiting: Int { reserve.count }

    /// Those who have a place keep it.
    mutating func update(_ limits: Limits) { self.limits = limits }

    /// A connection has been accepted.
    mutating func opened(from network: SocketAddress?) -> Opened {
        let number = free.popLast() ?? seats.count
        let fresh = Seat(state: .leaving, network: network)
        if number == seats.count { seats.append(fresh) } else { seats[number] = fresh }
        if seat(number) { return Opened(number: number) }
        seats[number].state = .waiting(.idle)
        guard reserve.count >= limits.reserve else {
            reserve.append(number)
            return Opened(number: number)
        }
        let evicted = dispensable ?? number
        seats[evicted].state = .leaving
        if evicted != number {
            reserve.removeAll { $0 == evicted }
            reserve.append(number)
        }
        return Opened(number: number, evicted: evicted)
    }

    /// The header of a request is there. Answers whether the request is served.
    mutating func requested(_ number: Int, isPriority: Bool) -> Bool {
        switch seats[number].state {
        case .seated:
            return true
        case .waiting:
            if seat(number) {
                reserve.removeAll { $0 == number }
                return true
            }
            return isPriority
        case .leaving:
            return false
        case .free:
            preconditionFailure("a closed connection asks")
        }
    }

    /// The whole request is there, and its answer is being made.
    mutating func requestReceived(_ number: Int) { occupy(number, .served) }

    /// There is an answer.
    mutating func answered(_ number: Int) { occupy(number, .answered) }

    /// The request is over.
    mutating func requestEnded(_ number: Int) { occupy(number, .idle) }

    mutating func closed(_ number: Int) {
        switch seats[number].state {
        case .seated:
            taken -= 1
            let network = seats[number].network
            if let count = networks[network], count > 1 { networks[network] = count - 1 } else { networks[network] = nil }
        case .waiting: reserve.removeAll { $0 == number }
        case .leaving: break
        case .free: preconditionFailure("a connection closes twice")
        }
        seats[number].state = .free
        free.append(number)
    }

    /// Gives a connection a place, where it may have one.
    private mutating func seat(_ number: Int) -> Bool {
        let network = seats[number].network
        guard taken < limits.places else { return false }
        let count = networks[network, default: 0]
        guard limits.perNetwork == 0 || count < limits.perNetwork else { return false }
        networks[network] = count + 1
        taken += 1
        seats[number].state = .seated
        return true
    }

    private mutating func occupy(_ number: Int, _ occupation: Occupation) {
        if case .waiting = seats[number].state { seats[number].state = .waiting(occupation) }
    }

    /// Who goes first; `nil`: all answers are being made.
    private var dispensable: Int? { oldest(.idle) ?? oldest(.answered) }

    /// The oldest of the network that has most of this kind in the reserve.
    private func oldest(_ occupation: Occupation) -> Int? {
        var crowds: [SocketAddress?: Int] = [:]
        for number in reserve where isOccupied(number, occupation) { crowds[seats[number].network, default: 0] += 1 }
        var found: (number: Int?, crowd: Int) = (nil, 0)
        for number in reserve where isOccupied(number, occupation) {
            let crowd = crowds[seats[number].network, default: 0]
            if crowd > found.crowd { found = (number, crowd) }
        }
        return found.number
    }

    private func isOccupied(_ number: Int, _ occupation: Occupation) -> Bool {
        if case .waiting(occupation) = seats[number].state { true } else { false }
    }
}
