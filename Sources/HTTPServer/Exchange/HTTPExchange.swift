// Owns the response side of one request, which a handler keeps until it responds.

internal import Platform
internal import Synchronization

/// Takes the response to one request. May be kept, and used from any thread.
///
/// Without a response the request holds its connection until the server stops.
public final class HTTPExchange: @unchecked Sendable {
    // Licence for @unchecked: `machine` is guarded by its lock and `mailbox` is constant; the variables below are
    // used by the loop's thread only.

    private let machine = Mutex(ExchangeMachine<HTTPResponse>())
    private let mailbox: LoopMailbox

    /// Position of the route in the handler's routes; −1 where the request has none.
    let route: Int
    let method: HTTPMethod
    /// What the handler knows of the request since ``HTTPHandler/admit(_:)``. Loop's thread only.
    public let context: (any AnyObject & Sendable)?
    /// The response if the body is too long; `nil`: the handler is asked. Loop's thread only.
    var tooLong: HTTPResponse?
    /// When its header was received, in monotonic nanoseconds.
    let began = MonotonicClock.nanoseconds()
    /// How its body is read. Loop's thread only.
    var intake: Intake
    /// When the suspended request is resumed, in monotonic nanoseconds; `nil`: it is not suspended. Loop's thread only.
    var suspendedUntil: UInt64?
    /// libmicrohttpd's connection; it outlives the request. Loop's thread only.
    let connection: OpaquePointer
    /// Loop's thread only.
    var body: BodyMachine
    /// The body so far. Loop's thread only.
    var buffer: BodyBuffer?
    /// The handler has been called, or the response queued. Loop's thread only.
    var isHandled = false
    /// Index in the list of those that wait for a response, or of suspended requests; −1: in neither. Loop's thread only.
    var slot = -1
    /// Status of the queued response; 0 before. Loop's thread only.
    var status: Int32 = 0

    /// How the pieces of a body are read.
    enum Intake {
        case collect
        /// The handler chooses by the first piece.
        case peek
        case stream(any HTTPBodyReader)
        case drop

        var isStream: Bool { if case .stream = self { true } else { false } }
    }

    init(
        mailbox: LoopMailbox, connection: OpaquePointer, route: Int, method: HTTPMethod, intake: Intake,
        body: consuming BodyMachine, context: (any AnyObject & Sendable)? = nil
    ) {
        self.context = context
        self.intake = intake
        self.mailbox = mailbox
        self.connection = connection
        self.route = route
        self.method = method
        self.body = body
    }

    /// Responds to the request.
    /// - Returns: `false` where there is a response already, or the connection is closed; this one is then dropped.
    @discardableResult
    public func respond(_ response: HTTPResponse) -> Bool {
        switch machine.withLock({ $0.responded(response) }) {
        case .keep:
            return true
        case .wake:
            mailbox.postAnswered(self)
            return true
        case .refuse:
            return false
        }
    }

    func handlerReturned() -> ExchangeMachine<HTTPResponse>.ReturnAction { machine.withLock { $0.handlerReturned() } }

    func connectionResumed() -> HTTPResponse? { machine.withLock { $0.connectionResumed() } }

    func requestEnded() { machine.withLock { $0.requestEnded() } }
}
