// Passes librdkafka's log lines to the user of the module.

internal import Telemetry

/// The target of one client's log callback.
final class LogSink: Sendable {
    private let write: LogHandler

    init(_ write: @escaping LogHandler) { self.write = write }

    func received(severity: Int32, facility: String, text: String) {
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
}
