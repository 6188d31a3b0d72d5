// Owns the response side of one request, which a handler keeps until it responds.

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
    /// Loop's thread only.
    let fields: HeaderFields
    /// When its header was received, in monotonic nanoseconds.
    let began: UInt64
    /// How its body is read. Loop's thread only.
    var intake: Intake
    /// When the reading of the suspended request is resumed, in monotonic nanoseconds. Loop's thread only.
    var suspendedUntil: UInt64 = 0
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
    /// Status of the response; 0 before there is one. Loop's thread only.
    var status: Int32 = 0
    /// The response was sent past libmicrohttpd. Loop's thread only.
    var isSent = false
    /// Decodes a compressed body. Loop's thread only.
    var decoder: ContentDecoder?

    /// How the pieces of a body are read.
    enum Intake {
        case collect
        /// The handler chooses by the first piece.
        case peek
        case stream(any HTTPBodyReader)
        case drop
        /// The response was sent before the body's end: little of the rest is dropped, then the connection is closed.
        case drain

        var isStream: Bool { if case .stream = self { true } else { false } }
    }

    init(
        mailbox: LoopMailbox, head: borrowing HTTPRequestHead, intake: Intake, body: consuming BodyMachine,
        decoder: ContentDecoder?, context: (any AnyObject & Sendable)?, now: UInt64
    ) {
        (connection, route, method, fields) = (head.connection, head.route, head.method, head.fields)
        began = now
        self.decoder = decoder
        self.context = context
        self.intake = intake
        self.mailbox = mailbox
        self.body = body
    }

    /// Bytes of the request's body that have come off the wire up to now. For the methods of ``HTTPHandler`` and ``HTTPBodyReader`` only.
    public var wireBytes: Int { body.wireBytes }

    /// The body is not what its coding says, or ends too early.
    var isUndecodable: Bool { decoder.map { $0.isDamaged || !body.isDropped && !$0.isComplete } ?? false }

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
