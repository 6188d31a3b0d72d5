// Owns how a module reports to the operator: a fixed sentence, with the data in metadata.

/// Writes log lines under a label. Cheap to copy; hand a copy to each user.
///
/// Sentences are compile-time constants, so that they can be searched for and never carry data: what varies goes into
/// the metadata. Neither payloads nor secrets belong there.
public struct Logger: Sendable {
    /// Keys and values of one line, in the order they are shown.
    public typealias Metadata = KeyValuePairs<String, any LogValueConvertible>

    /// Who speaks, with dots: `sluice.kafka`.
    public let label: String
    /// The form of the lines.
    public var format: LogFormat
    private let threshold: LogThreshold
    private let sink: any LogSink
    private let clock: @Sendable () -> Int64
    private var inherited: LogLine.Metadata = []

    /// - Parameters:
    ///   - label: who speaks, with dots.
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

    /// Lines below `level` are not written from now on, by this logger, the one it was made from, and all that were made from either.
    public func setLevel(_ level: LogLevel) { threshold.level = level }

    /// A logger that writes nothing, for tests.
    public static let silent = Logger(label: "", level: .error, sink: NoSink())

    /// The same logger under a longer label, with metadata that every one of its lines carries.
    public func child(_ name: String = "", _ metadata: Metadata = [:]) -> Logger {
        var child = Logger(
            label: name.isEmpty ? label : label.isEmpty ? name : "\(label).\(name)", threshold: threshold, format: format,
            sink: sink, clock: clock)
        child.inherited = inherited + metadata.map { ($0.key, $0.value.logValue) }
        return child
    }

    /// What an engineer wants while looking at a problem.
    public func debug(_ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        log(.debug, sentence, metadata())
    }

    /// What an operator wants to read afterwards.
    public func info(_ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        log(.info, sentence, metadata())
    }

    /// Something is wrong and the process copes.
    public func warning(_ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        log(.warning, sentence, metadata())
    }

    /// Somebody must act.
    public func error(_ sentence: StaticString, _ metadata: @autoclosure () -> Metadata = [:]) {
        log(.error, sentence, metadata())
    }

    /// Writes one line if `level` is loud enough; only then is `metadata` evaluated.
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

    private struct NoSink: LogSink {
        func write(_ line: [UInt8]) {}
    }
}
