// Writes log lines: a constant sentence, and the data in metadata.

public import Platform

/// Writes log lines under a label. Cheap to copy.
///
/// The sentence of a line is a compile-time constant, so it can be searched for; what varies goes into the metadata. Payloads and
/// secrets belong into neither.
public struct Logger: Sendable {
    /// Keys and values of one line, in the order they are shown.
    public typealias Metadata = KeyValuePairs<String, any LogValueConvertible>

    /// The part of the program, with dots: `sluice.kafka`.
    public let label: String
    /// The form of the lines.
    public var format: LogFormat
    private let threshold: LogThreshold
    private let sink: any LogSink
    private let clock: @Sendable () -> Int64
    private var inherited: LogLine.Metadata = []

    /// - Parameters:
    ///   - label: the part of the program, with dots.
    ///   - level: lines below it are not written.
    ///   - format: the form of the lines.
    ///   - sink: takes the finished lines.
    ///   - clock: milliseconds since 1970 for the time stamp; replaced in tests.
    public init(
        label: String, level: LogLevel = .info, format: LogFormat = .text, sink: any LogSink = DescriptorLogSink.standardError,
        clock: @escaping @Sendable () -> Int64 = { WallClock.milliseconds() }
    ) {
        self.init(label: label, threshold: LogThreshold(level), format: format, sink: sink, clock: clock)
    }

    private init(
        label: String, threshold: LogThreshold, format: LogFormat, sink: any LogSink, clock: @escaping @Sendable () -> Int64
    ) {
        self.label = label
        self.threshold = threshold
        self.format = format
        self.sink = sink
        self.clock = clock
    }

    /// Lines below this level are not written.
    public var level: LogLevel { threshold.level }

    /// Sets the lowest level that is written, for this logger, the one it was made from, and all that were made from either.
    public func setLevel(_ level: LogLevel) { threshold.level = level }

    /// A logger that writes nothing.
    public static let silent = Logger(label: "", level: .error, sink: NoSink())

    /// The same logger with a longer label, and with metadata that stands on all of its lines.
    public func child(_ name: String = "", _ metadata: Metadata = [:]) -> Logger {
        var child = Logger(
            label: name.isEmpty ? label : label.isEmpty ? name : "\(label).\(name)", threshold: threshold, format: format,
            sink: sink, clock: clock)
        child.inherited = inherited + metadata.map { ($0.key, $0.value.logValue) }
        return child
    }

    /// Writes a line for examining a problem.
    public func debug(_ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        log(.debug, sentence, metadata())
    }

    /// Writes a line about a start, a stop or a change of state.
    public func info(_ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        log(.info, sentence, metadata())
    }

    /// Writes a line about something that is wrong and that the process copes with.
    public func warning(_ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        log(.warning, sentence, metadata())
    }

    /// Writes a line that asks an operator to act.
    public func error(_ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        log(.error, sentence, metadata())
    }

    /// Writes a line unless its level is below ``level``; only then is `metadata` evaluated.
    public func log(_ level: LogLevel, _ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        guard level >= self.level else { return }
        let all = inherited + metadata().map { ($0.key, $0.value.logValue) }
        let line =
            switch format {
            case .text:
                LogLine.text(milliseconds: clock(), level: level, label: label, sentence: "\(sentence)", metadata: all)
            case .json:
                LogLine.json(milliseconds: clock(), level: level, label: label, sentence: "\(sentence)", metadata: all)
            }
        sink.write(Array(line.utf8))
    }

    /// Writes a library's messages, each as the metadata `message` of a line with this sentence (see ``LogLine``).
    public func handler(_ sentence: StaticString) -> LogHandler {
        { level, message in log(level, sentence, ["message": message]) }
    }

    private struct NoSink: LogSink {
        func write(_ line: [UInt8]) {}
    }
}
