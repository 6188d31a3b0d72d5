// Owns what a metric name measures, and the samples that are computed for one while a page is rendered.

/// What a metric name measures, as the TYPE line says.
public enum MetricType: String, Sendable {
    /// Only grows; the name ends in `_total`.
    case counter
    /// Goes up and down.
    case gauge
    /// Buckets, sum and count.
    case histogram
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
        for label in labels { precondition(PrometheusText.isLabelName(label), "\(label) of \(name) is not a label name") }
        precondition(Set(labels).count == labels.count, "\(name) names a label twice")
        self.name = name
        self.type = type
        self.help = help
        self.labels = labels
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
