// Owns the answering side of one request: what a handler keeps until it knows what to say.

internal import Synchronization

/// One request's way back to its client. May be kept, and answered from any thread.
///
/// A request that is never answered holds its connection until the server stops: whoever keeps an exchange must answer it.
public final class HTTPExchange: @unchecked Sendable {
    // Licence for @unchecked: `machine` is behind its lock and `mailbox` is constant; the variables below belong to the loop's
    // thread, which is the only one that touches them.

    private let machine = Mutex(ExchangeMachine<HTTPResponse>())
    private let mailbox: LoopMailbox

    /// Position of the route in the handler's routes; −1 where the request has none.
    let route: Int
    let method: HTTPMethod
    /// How its body is read. Loop's thread only.
    var intake: Intake
    /// When a parked exchange is woken, in monotonic nanoseconds; `nil`: it is not parked. Loop's thread only.
    var parkedUntil: UInt64?
    /// libmicrohttpd's connection; it outlives the request. Loop's thread only.
    let connection: OpaquePointer
    /// Loop's thread only.
    var body: BodyMachine
    /// The body so far. Loop's thread only.
    var buffer: BodyBuffer?
    /// The handler has been called, or the answer queued. Loop's thread only.
    var isHandled = false
    /// Position among the suspended, or the parked exchanges; −1 where it is neither. Loop's thread only.
    var slot = -1
    /// Status of the queued answer; 0 before. Loop's thread only.
    var status: Int32 = 0

    /// What becomes of the pieces of a body.
    enum Intake {
        case collect
        /// The handler decides by the first piece.
        case peek
        case stream(any HTTPBodyReader)
        case drop

        var isStream: Bool { if case .stream = self { true } else { false } }
    }

    init(
        mailbox: LoopMailbox, connection: OpaquePointer, route: Int, method: HTTPMethod, intake: Intake,
        body: consuming BodyMachine
    ) {
        self.intake = intake
        self.mailbox = mailbox
        self.connection = connection
        self.route = route
        self.method = method
        self.body = body
    }

    /// Answers the request.
    /// - Returns: `false` where it has an answer already, or its connection is gone; the response is then dropped.
    @discardableResult
    public func respond(_ response: HTTPResponse) -> Bool {
        switch machine.withLock({ $0.answerGiven(response) }) {
        case .keep:
            return true
        case .wake:
            mailbox.post(self)
            return true
        case .refuse:
            return false
        }
    }

    /// Ends the wait of a reader that has said ``HTTPBodyDemand/later(taken:within:)``. Any thread, at any time; without effect where
    /// nothing waits.
    public func resumeReading() { mailbox.postProceeding(self) }

    /// The request ended without an answer. While a request waits for its answer nobody reads from its connection, so that a client
    /// that left is noticed only when the answer is sent.
    public var isClientGone: Bool { machine.withLock { $0.isAbandoned } }

    func handlerReturned() -> ExchangeMachine<HTTPResponse>.ReturnAction { machine.withLock { $0.handlerReturned() } }

    func connectionResumed() -> HTTPResponse? { machine.withLock { $0.connectionResumed() } }

    func requestEnded() { machine.withLock { $0.requestEnded() } }
}
