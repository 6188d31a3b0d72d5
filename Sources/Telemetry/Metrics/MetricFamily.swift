// Owns the series of one metric name, and hands out the instrument of each combination of label values.

import Synchronization

/// What a metric name measures, as the TYPE line says.
public enum MetricType: String, Sendable {
    /// Only grows; the name ends in `_total`.
    case counter
    /// Goes up and down.
    case gauge
    /// Buckets, sum and count.
    case histogram
}

/// One series: something that can write its samples.
protocol Instrument: AnyObject, Sendable {
    func write(_ name: String, labels: [(String, String)], into text: inout PrometheusText)
}

/// One metric name on the page.
protocol MetricFamily: Sendable {
    var header: MetricHeader { get }
    func write(into text: inout PrometheusText, _ page: inout PageState)
}

/// What all series of a metric name share.
struct MetricHeader: Sendable {
    let name: String
    let type: MetricType
    let help: String
    let labels: [String]

    init(_ name: String, type: MetricType, help: String, labels: [String] = []) {
        precondition(PrometheusText.isMetricName(name), "\(name) is not a metric name")
        precondition(type != .counter || name.hasSuffix("_total"), "the counter \(name) must end in _total")
        precondition(!help.isEmpty, "\(name) needs a help text")
        for label in labels {
            precondition(PrometheusText.isLabelName(label), "\(label) of \(name) is not a label name")
            precondition(type != .histogram || label != "le", "the label le of \(name) belongs to its buckets")
        }
        precondition(Set(labels).count == labels.count, "\(name) names a label twice")
        self.name = name
        self.type = type
        self.help = help
        self.labels = labels
    }
}

/// A metric name with labels: one instrument for each combination of label values.
///
/// ``child(_:)`` takes a lock and may allocate: look instruments up once and keep them.
public final class Family<Member: Sendable>: Sendable {
    private struct Series: Sendable {
        let values: [String]
        let member: Member
    }

    let header: MetricHeader
    private let make: @Sendable () -> Member
    private let series = Mutex<[Series]>([])

    init(_ header: MetricHeader, make: @escaping @Sendable () -> Member) {
        self.header = header
        self.make = make
    }

    /// The instrument for these label values, in the order of the family's label names; made at zero when first asked for.
    @discardableResult
    public func child(_ values: String...) -> Member { child(values) }

    /// The instrument for these label values, in the order of the family's label names; made at zero when first asked for.
    @discardableResult
    public func child(_ values: [String]) -> Member {
        precondition(values.count == header.labels.count, "\(header.name) takes the labels \(header.labels)")
        return series.withLock { series in
            if let found = series.first(where: { $0.values == values }) { return found.member }
            let member = make()
            series.append(Series(values: values, member: member))
            return member
        }
    }
}

extension Family: MetricFamily where Member: Instrument {
    func write(into text: inout PrometheusText, _ page: inout PageState) {
        for one in series.withLock({ $0 }) {
            one.member.write(header.name, labels: Array(zip(header.labels, one.values)), into: &text)
        }
    }
}

/// A metric name whose values are computed when somebody scrapes.
struct CollectedFamily: MetricFamily {
    let header: MetricHeader
    private let body: @Sendable (inout SampleSink, inout PageState) -> Void

    init(
        _ name: String, type: MetricType, help: String, _ body: @escaping @Sendable (inout SampleSink, inout PageState) -> Void
    ) {
        precondition(type != .histogram, "\(name): a histogram cannot be collected")
        header = MetricHeader(name, type: type, help: help)
        self.body = body
    }

    func write(into text: inout PrometheusText, _ page: inout PageState) {
        var sink = SampleSink(name: header.name)
        body(&sink, &page)
        for sample in sink.samples { text.sample(header.name, labels: sample.labels, value: sample.value) }
    }
}

/// Takes the values of one metric name while a page is rendered.
public struct SampleSink {
    let name: String
    private(set) var samples: [(labels: [(String, String)], value: String)] = []

    init(name: String) { self.name = name }

    /// Adds a series with its value. No two series of a name may carry the same labels.
    public mutating func sample(_ value: Double, _ labels: KeyValuePairs<String, String> = [:]) {
        add(PrometheusText.number(value), labels)
    }

    /// Adds a series with its value, exact to the last digit.
    public mutating func sample(_ value: Int, _ labels: KeyValuePairs<String, String> = [:]) {
        add(String(value), labels)
    }

    private mutating func add(_ value: String, _ labels: KeyValuePairs<String, String>) {
        for (label, _) in labels { precondition(PrometheusText.isLabelName(label), "\(label) of \(name) is not a label name") }
        samples.append((labels.map { ($0.key, $0.value) }, value))
    }
}
