// Writes a run as one page without scripts or outside files: the numbers and two plots over time.

/// The page of a run.
struct HTMLReport: Sendable {
    /// What it shows.
    let summary: Summary

    /// The whole page.
    var text: String {
        let verdict = summary.verification.map { $0.isVerified ? "verified" : "FAILED: " + $0.findings.joined(separator: "; ") }
        return """
            <!doctype html>
            <html lang="en"><meta charset="utf-8"><title>sluice-loadtest</title>
            <style>
            body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
            td { padding: 0 1rem 0 0; } svg { width: 100%; height: 12rem; background: #f4f4f4; }
            polyline { fill: none; stroke: #2563eb; stroke-width: 2; vector-effect: non-scaling-stroke; }
            </style>
            <h1>sluice-loadtest</h1>
            <pre>\(Self.escaped(summary.text))</pre>
            \(verdict.map { "<p>Verification: \(Self.escaped($0))</p>" } ?? "")
            \(plot("Acknowledged events a second", summary.samples.map { ($0.seconds, $0.rate) }))
            \(plot("Worker's lag in events", summary.samples.compactMap { s in s.lag.map { (s.seconds, Double($0)) } }))
            <table>
            <tr><td>target<td>\(summary.target)<tr><td>seed<td>\(summary.seed)
            <tr><td>keys<td>\(summary.keys) from \(summary.keyBase)
            <tr><td>target rate<td>\(summary.targetRate == 0 ? "as fast as possible" : "\(fixed(summary.targetRate, 1))/s")
            </table></html>

            """
    }

    private func plot(_ title: String, _ points: [(x: Double, y: Double)]) -> String {
        guard points.count >= 2, let end = points.last?.x, let top = points.map(\.y).max() else { return "" }
        let line = points.map { "\(fixed($0.x / end * 1000, 1)),\(fixed(200 - $0.y / max(top, 1) * 190, 1))" }
        return """
            <h2>\(title)</h2><p>highest \(Int(top)), over \(fixed(end, 0)) s</p>
            <svg viewBox="0 0 1000 200" preserveAspectRatio="none"><polyline points="\(line.joined(separator: " "))"/></svg>
            """
    }

    static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            default: result.append(character)
            }
        }
        return result
    }
}
