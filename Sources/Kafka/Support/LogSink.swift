// Passes librdkafka's log lines to the user of the module.

internal import CKafka
internal import Telemetry

/// The target of one client's log callback. ``Client`` keeps it alive until `rd_kafka_destroy` has joined librdkafka's threads.
final class LogSink: Sendable {
    private let write: LogHandler

    init(_ write: @escaping LogHandler) { self.write = write }

    fileprivate func received(severity: Int32, facility: String, text: String) {
        // Consumer and producer get the same properties; librdkafka warns about each that does not apply to a client.
        if facility == "CONFWARN", text.contains("will be ignored by this") { return }
        let level: LogLevel =
            switch severity {
            case ...3: .error
            case 4: .warning
            case 5, 6: .info
            default: .debug
            }
        write(level, "\(facility): \(text)")
    }

    /// librdkafka's log callback. It gets the sink from the client's opaque pointer, which is unretained: the sink outlives the
    /// client (see ``Client``).
    static let callback: @convention(c) (OpaquePointer?, Int32, UnsafePointer<CChar>?, UnsafePointer<CChar>?) -> Void = {
        client, severity, facility, text in
        guard let client, let facility, let text, let opaque = rd_kafka_opaque(client) else { return }
        let sink = Unmanaged<LogSink>.fromOpaque(opaque).takeUnretainedValue()
        sink.received(severity: severity, facility: String(cString: facility), text: String(cString: text))
    }
}
