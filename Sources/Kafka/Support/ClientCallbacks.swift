// Owns the C callbacks of a client, and finds whom they are for.

internal import CKafka

/// What librdkafka's callbacks of one client call. ``Client`` keeps it alive until `rd_kafka_destroy` has joined librdkafka's threads.
final class ClientCallbacks: Sendable {
    let log: LogSink
    /// `nil`: tokens, if there are any, are librdkafka's own affair.
    let tokens: TokenRefresh?

    init(log: LogSink, tokens: TokenRefresh?) {
        self.log = log
        self.tokens = tokens
    }

    /// The callbacks of a client, from its opaque pointer, which is unretained: they outlive the client (see ``Client``).
    private static func of(_ client: OpaquePointer?) -> ClientCallbacks? {
        guard let client, let opaque = rd_kafka_opaque(client) else { return nil }
        return Unmanaged<ClientCallbacks>.fromOpaque(opaque).takeUnretainedValue()
    }

    /// librdkafka's log callback.
    static let logged: @convention(c) (OpaquePointer?, Int32, UnsafePointer<CChar>?, UnsafePointer<CChar>?) -> Void = {
        client, severity, facility, text in
        guard let callbacks = of(client), let facility, let text else { return }
        callbacks.log.received(severity: severity, facility: String(cString: facility), text: String(cString: text))
    }

    /// librdkafka's callback that asks for a token.
    static let tokenWanted: @convention(c) (OpaquePointer?, UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Void = {
        client, _, _ in
        guard let client, let tokens = of(client)?.tokens else { return }
        tokens.asked(by: client)
    }
}
