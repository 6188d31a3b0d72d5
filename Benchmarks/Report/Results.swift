// The JSON file of a benchmark run.

import Foundation

/// Everything that was measured, with the machine it was measured on.
struct Results: Codable, Sendable {
    let machine: Machine
    let date = Date()
    var micro: [Figure]?
    var loader: LoaderResult?
    var drain: DrainResult?
    var strategies: StrategiesResult?
    var sparse: SparseResult?
    var gaps: GapsResult?
    var shapes: ShapesResult?
    var skew: SkewResult?
    var latency: LatencyResult?
    var loadedLatency: LoadedLatencyResult?
    var budgets: BudgetResult?
    var frozen: FrozenResult?
    var shed: SheddingResult?
    var ingress: IngressResult?
    var overload: OverloadResult?

    init(machine: Machine) { self.machine = machine }

    private enum CodingKeys: String, CodingKey {
        case machine, date, micro, loader, drain, strategies, sparse, gaps, shapes, skew, latency, loadedLatency, budgets, frozen,
            shed
        case ingress, overload
    }

    /// Writes `<time>.json` into `folder`.
    func write(to folder: String) throws {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(identifier: "UTC")
        format.dateFormat = "yyyyMMdd-HHmmss"
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.dateEncodingStrategy = .iso8601
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = "\(folder)/\(format.string(from: date)).json"
        try encoder.encode(self).write(to: URL(fileURLWithPath: path))
        say("\nresults: \(path)")
    }
}

/// One step of the hot path, as a ratio to a reference.
struct Figure: Codable, Sendable {
    enum Direction: String, Codable { case atLeast = "at least", atMost = "at most" }

    let name: String
    /// Of the step itself, in `unit`.
    let value: Double
    let unit: String
    /// The reference, and its value in the same unit.
    let against: String
    let base: Double
    /// Value and reference as a ratio; whether more or less is better is `direction`.
    let ratio: Double
    let direction: Direction
    /// The bar of the ratio.
    let aim: Double

    /// Missed by more than noise can explain.
    static let margin = 2.0

    var isBroken: Bool { direction == .atLeast ? ratio < aim / Self.margin : ratio > aim * Self.margin }

    var verdict: String {
        let met = direction == .atLeast ? ratio >= aim : ratio <= aim
        let word = met ? "good" : isBroken ? "BROKEN" : "missed, within noise"
        return "\(ratio.shown) × (aim: \(direction.rawValue) \(aim.shown)), \(word)"
    }
}
