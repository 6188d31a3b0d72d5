// Writes the Prometheus text format 0.0.4.
//
// Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format

/// A page of Prometheus text.
struct PrometheusText: ~Copyable {
    private(set) var bytes: [UInt8] = []

    init(reserving capacity: Int) { bytes.reserveCapacity(capacity) }

    /// The HELP and TYPE lines of a family.
    mutating func open(_ header: MetricHeader) {
        put("# HELP \(header.name) ")
        escape(header.help, quotes: false)
        put("\n# TYPE \(header.name) \(header.type.rawValue)\n")
    }

    mutating func sample(_ name: String, labels: [(String, String)] = [], value: String) {
        put(name)
        if !labels.isEmpty {
            var separator = "{"
            for (label, content) in labels {
                put(separator)
                put(label)
                put("=\"")
                escape(content, quotes: true)
                put("\"")
                separator = ","
            }
            put("}")
        }
        put(" ")
        put(value)
        put("\n")
    }

    private mutating func put(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Backslash and newline everywhere, the double quote in label values only.
    private mutating func escape(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): put("\\\\")
            case UInt8(ascii: "\n"): put("\\n")
            case UInt8(ascii: "\"") where quotes: put("\\\"")
            default: bytes.append(byte)
            }
        }
    }

    /// A number as Prometheus reads it: whole numbers without a fraction, `+Inf`, `-Inf`, `NaN`.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return value.description
    }

    static func isMetricName(_ name: String) -> Bool { isName(name, colons: true) }

    /// Names that begin with two underscores are reserved for Prometheus.
    static func isLabelName(_ name: String) -> Bool { isName(name, colons: false) && !name.hasPrefix("__") }

    private static func isName(_ name: String, colons: Bool) -> Bool {
        guard let first = name.utf8.first, !(0x30...0x39).contains(first) else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"): true
            case UInt8(ascii: ":"): colons
            default: false
            }
        }
    }
}
