// Draws the figures of the section `shed`: admitted and refused requests, and the lag.

import Foundation

/// Two panels over one axis of time.
struct SheddingPlot {
    let samples: [SheddingSample]
    /// Records of lag at which shedding starts.
    let threshold: Double
    /// When the database was stopped, in seconds.
    let freeze: ClosedRange<Double>

    func write(to path: String) throws {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    }

    /// Steps of a second: (time, admitted a second, refused a second).
    private var rates: [(at: Double, admitted: Double, refused: Double)] {
        var rates: [(Double, Double, Double)] = []
        guard var last = samples.first else { return [] }
        for sample in samples where sample.at - last.at >= 1 {
            let span = sample.at - last.at
            rates.append((sample.at, (sample.admitted - last.admitted) / span, (sample.refused - last.refused) / span))
            last = sample
        }
        return rates
    }

    private var text: String {
        let end = samples.last?.at ?? 1
        let rates = rates
        let top = rates.map { Swift.max($0.admitted, $0.refused) }.max() ?? 1
        var requests = SVGPanel(title: "requests/s", top: 44, limits: (end, top))
        requests.shade(freeze, "PostgreSQL stopped")
        requests.line(rates.map { ($0.at, $0.admitted) }, "#1a7f37", "answered 200")
        requests.line(rates.map { ($0.at, $0.refused) }, "#cf222e", "answered 503")
        var lag = SVGPanel(
            title: "lag, records", top: 274, limits: (end, Swift.max(2 * threshold, samples.map(\.lag).max() ?? 0)))
        lag.shade(freeze, "")
        lag.mark(threshold, "threshold")
        lag.mark(2 * threshold, "twice the threshold")
        lag.line(samples.map { ($0.at, $0.lag) }, "#0969da", "lag")
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(SVGPanel.width)) 520" font-family="system-ui, 'DejaVu Sans', sans-serif" \
            font-size="13">
              <title>POST /send while PostgreSQL is stopped</title>
              <rect width="100%" height="100%" fill="#ffffff"/>
            \(requests.body)\(lag.body)\(SVGPanel.axis(end, below: lag))</svg>

            """
    }
}

/// One panel of a plot: a frame, lines in it, and their names.
struct SVGPanel {
    static let width = 900.0
    private static let left = 80.0
    private static let right = 20.0
    private static let height = 190.0
    private let top: Double
    private let limits: (x: Double, y: Double)
    private var names = 0.0
    private(set) var body = ""

    init(title: String, top: Double, limits: (x: Double, y: Double)) {
        self.top = top
        self.limits = (Swift.max(limits.x, 1), Swift.max(limits.y, 1) * 1.05)
        body += Self.label(title, Self.left, top - 10, weight: 600)
        body +=
            ##"  <rect x="\##(Self.left)" y="\##(top)" width="\##(Self.span)" height="\##(Self.height)" fill="#f6f8fa" stroke="#d0d7de"/>"##
            + "\n"
        for share in [0, 0.5, 1] {
            let value = share * limits.y
            body += Self.label("\(Int(value))", Self.left - 8, y(value) + 4, anchor: "end")
        }
    }

    private static var span: Double { width - left - right }
    private func x(_ value: Double) -> Double { Self.left + value / limits.x * Self.span }
    private func y(_ value: Double) -> Double { top + Self.height * (1 - value / limits.y) }

    /// Shades a span of time.
    mutating func shade(_ span: ClosedRange<Double>, _ name: String) {
        let (from, to) = (x(span.lowerBound), x(Swift.min(span.upperBound, limits.x)))
        body +=
            ##"  <rect x="\##(Self.round(from))" y="\##(top)" width="\##(Self.round(to - from))" height="\##(Self.height)" fill="#eaeef2"/>"##
            + "\n"
        if !name.isEmpty { body += Self.label(name, from + 6, top + Self.height - 8) }
    }

    /// A level that does not change.
    mutating func mark(_ value: Double, _ name: String) {
        body +=
            ##"  <path d="M\##(Self.left) \##(Self.round(y(value)))h\##(Self.span)" stroke="#bc4c00" stroke-dasharray="6 5" fill="none"/>"##
            + "\n"
        body += Self.label(name, Self.left + 6, y(value) + 15, colour: "#bc4c00")
    }

    /// A line through points, with its name at the top right.
    mutating func line(_ points: [(Double, Double)], _ colour: String, _ name: String) {
        let path = points.map { "\(Self.round(x($0.0))),\(Self.round(y($0.1)))" }.joined(separator: " ")
        body += ##"  <polyline points="\##(path)" fill="none" stroke="\##(colour)" stroke-width="2"/>"## + "\n"
        body += Self.label(name, Self.width - Self.right - 8 - names, top - 10, anchor: "end", colour: colour, weight: 600)
        names += 110
    }

    /// The axis of time below the last panel.
    static func axis(_ end: Double, below panel: SVGPanel) -> String {
        let step = [5.0, 10, 20, 30, 60, 120, 300].first { end / $0 <= 12 } ?? 600
        return stride(from: 0, through: end, by: step).map {
            label("\(Int($0)) s", panel.x($0), panel.top + height + 18, anchor: "middle")
        }.joined()
    }

    private static func label(
        _ text: String, _ x: Double, _ y: Double, anchor: String = "start", colour: String = "#57606a", weight: Int = 400
    ) -> String {
        ##"  <text x="\##(round(x))" y="\##(round(y))" text-anchor="\##(anchor)" fill="\##(colour)" font-weight="\##(weight)">\##(text)</text>"##
            + "\n"
    }

    private static func round(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}
